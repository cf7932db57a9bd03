import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxedit.data import record

PICTURE = io.BytesIO()
Image.fromarray(np.zeros((4, 6), np.uint8)).save(PICTURE, "PNG")
ROW = record.Record(
    id="pipe/train/a",
    group_id="pipe/a",
    dataset="pipe",
    task="depth",
    edit_type=2,
    edit_type_raw="left",
    turn=3,
    source=b"\xff\xd8source",
    target=b"\xff\xd8target",
    mask=PICTURE.getvalue(),
    instruction="Füge 雪 hinzu",
    source_caption="",
    target_caption="snow",
    score=0.5,
    orig_hw=(40, 60),
    target_sha256="0" * 64,
)


def round_trip(row, **options):
    features = record.features(**{"keeps_labels": False, **options})
    data = record.encode(row, features)
    return record.decode(features.deserialize_example_np(data, decoders=record.decoders()))


def test_a_record_comes_back():
    assert round_trip(ROW) == ROW
    assert round_trip(ROW._replace(mask=None)) == ROW._replace(mask=None)
    assert round_trip(ROW, keeps_labels=True) == ROW


def test_halves_of_surrogate_pairs_become_question_marks():
    assert round_trip(ROW._replace(instruction="snow \ud83d!")).instruction == "snow ?!"


def test_unknown_tasks_are_refused():
    with pytest.raises(ValueError, match="task 'paint': expected one of edit, depth"):
        record.encode(ROW._replace(task="paint"), record.features(keeps_labels=False))


def test_neither_tensorflow_nor_jax_is_needed():
    code = (
        "import sys; from jaxedit.data import record; record.features(keeps_labels=False);"
        "import jaxedit.datasets.convert.write_store, jaxedit.datasets.readers.pairs;"
        "print([m for m in ('tensorflow', 'torch', 'jax', 'grain') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr
