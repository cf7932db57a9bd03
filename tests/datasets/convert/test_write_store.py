import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from fabricate_pairs import folder as pairs_folder
from fabricate_pairs import records

from jaxedit.data.store import Store
from jaxedit.datasets.convert.__main__ import main


@pytest.fixture
def src(tmp_path):
    return pairs_folder(tmp_path / "pairs", 3, masks=True)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "stores" / "mine"


def command(src, out, *options):
    return ["--dataset=pairs", f"--src={src}", f"--out={out}", "--workers=1", *options]


def shards(out):
    return {path.name: list(records(path)) for path in sorted(out.glob("*.array_record*"))}


def test_a_folder_becomes_a_store(src, out, capsys):
    (src / "target" / "p001.png").write_bytes(b"")
    assert main(command(src, out, "--store_px=32")) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{out}: 2 pairs of 3 rows, 0.1 MB; dropped: 1 target not a")
    report = json.loads((out / "report.json").read_text())
    assert report["dataset"] == "pairs" and report["rows"] == 3 and report["masks"] == 2
    assert report["examples"] == {"target not a picture": ["p001"]}
    assert report["duplicate_targets"] == 0 and report["unreadable"] == []
    store = Store(out)
    assert [store[i].instruction for i in range(len(store))] == ["make it 0", "make it 2"]


def test_tfds_opens_it(src, out):
    import tensorflow_datasets as tfds

    assert main(command(src, out, "--store_px=32")) == 0
    builder = tfds.builder_from_directory(out)
    assert str(builder.info.version) == "1.0.0" and builder.info.splits["train"].num_examples == 3
    row = builder.as_data_source("train", decoders={"mask": tfds.decode.SkipDecoding()})[1]
    assert row["id"] == b"pairs/train/p001" and row["source"].shape == (32, 38, 3)
    assert row["target"].dtype == np.uint8 and row["has_mask"]
    assert "tensorflow" not in sys.modules and "torch" not in sys.modules


def test_it_goes_on_where_it_was_stopped(src, out, capsys, monkeypatch):
    lines = [
        json.dumps(
            {"source": "source/p000.jpg", "target": "target/p000.png", "instruction": f"{i}"}
        )
        for i in range(401)
    ]
    (src / "pairs.jsonl").write_text("\n".join(lines))
    order = command(src, out, "--store_px=16")
    assert main(order) == 0
    whole = shards(out)
    assert len(whole) == 3
    (out / "dataset_info.json").unlink()
    (out / "conversion" / "00002.json").unlink()
    finished = [(path, path.stat().st_mtime_ns) for path in sorted(out.glob("*.array_record*"))]
    with pytest.raises(ValueError, match="conversion did not finish: run again"):
        Store(out)
    assert main(order) == 0
    written = [path.stat().st_mtime_ns > earlier for path, earlier in finished]
    assert written == [False, False, True]
    assert shards(out) == whole and len(Store(out)) == 401
    assert "converted before" not in capsys.readouterr().err
    assert main(order) == 0
    assert f"{out}: converted before; use --overwrite to start again" in capsys.readouterr().err

    monkeypatch.setattr("jaxedit.datasets.convert.write_store.run_jobs", interrupt)
    assert main([*order, "--overwrite"]) == 130
    assert "run the same command to continue" in capsys.readouterr().err
    assert not (out / "dataset_info.json").exists()


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_other_settings_do_not_mix(src, out, capsys):
    assert main(command(src, out, "--store_px=32")) == 0
    (src / "instruction" / "p000.txt").write_text("another")
    assert main(command(src, out, "--store_px=16")) == 2
    err = capsys.readouterr().err
    assert "its conversion has store_px=32 instead of 16, src_contents=" in err
    assert len(Store(out)) == 3
    assert main(command(src, out, "--store_px=16", "--overwrite")) == 0
    assert Store(out)[0].instruction == "another"


def test_nothing_to_store(src, out, capsys):
    for path in (src / "source").iterdir():
        path.write_bytes(b"<html>")
    assert main(command(src, out)) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err == (
        f"error: --src={src}: nothing to store: 0 pairs of 3 rows, 0.1 MB; dropped: 3 source not "
        "a picture"
    )
    report = json.loads((out / "report.json").read_text())
    assert report["dropped"] == {"source not a picture": 3}
    assert not (out / "dataset_info.json").exists()


def test_pieces_that_cannot_be_read(src, out, capsys, monkeypatch):
    monkeypatch.setattr("jaxedit.datasets.readers.pairs.Pairs.read", read_half)
    assert main(command(src, out)) == 2
    err = capsys.readouterr().err
    assert "error: 1 published pieces cannot be read, the first: a.tar: cut short; " in err
    assert not (out / "dataset_info.json").exists()
    assert main(command(src, out, "--skip_unreadable")) == 0
    assert len(Store(out)) == 1
    monkeypatch.undo()  # repaired
    assert main(command(src, out)) == 0
    assert len(Store(out)) == 3


def read_half(self, part):
    yield self._example(part[0])
    raise ValueError("a.tar: cut short")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--shards=-1", "shards=-1: expected a whole number in [0, 99999]"),
        ("--workers=0", "workers=0: expected a positive whole number"),
        ("--store_px=8", "store_px=8: expected a whole number in [16, 8192]"),
        ("--dataset=pears", "invalid choice: 'pears'"),
        ("--src=/none", "/none: no such file"),
        ("--src=gs://bucket/x", "bucket/x: expected a local path; copy it here"),
        ("--colour", "--colour: no such argument"),
    ],
)
def test_wrong_arguments(src, out, capsys, option, message):
    assert main(command(src, out, option)) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and not out.exists()


def test_an_empty_list(tmp_path, out, capsys):
    (tmp_path / "pairs.jsonl").write_text("\n")
    assert main(command(tmp_path, out)) == 2
    assert "expected rows of pairs, found none" in capsys.readouterr().err and not out.exists()


def test_help_is_fast_to_import():
    code = (
        "import jaxedit.datasets.convert.__main__, sys;"
        "print([m for m in ('jax', 'grain', 'tensorflow_datasets', 'pyarrow') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_conversion_ends_as_an_undisturbed_one(tmp_path, how):
    src = pairs_folder(tmp_path / "pairs", 1)
    line = {"source": "source/p000.jpg", "target": "target/p000.png"}
    lines = [json.dumps({**line, "instruction": f"{i}"}) for i in range(1200)]
    (src / "pairs.jsonl").write_text("\n".join(lines))
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    options = ["--store_px=32", "--shards=6", "--workers=2"]
    assert main(command(src, undisturbed, *options)) == 0
    order = [sys.executable, "-m", "jaxedit.datasets.convert", *command(src, out, *options)]
    process = subprocess.Popen(order, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(out.glob("*.array_record*")):
        time.sleep(0.1)
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)  # Ctrl-C reaches the group
    err = process.communicate()[1]
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert how == signal.SIGKILL or "Traceback" not in err
    assert not (out / "dataset_info.json").exists() and shards(out)
    while subprocess.run(order, capture_output=True).returncode:
        time.sleep(0.2)
    assert shards(out) == shards(undisturbed) and len(Store(out)) == 1200
