"""PIE-Bench's layout, masks, and edits of other programs."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.evaluate.benchmarks.pie_bench import SIDE, crop_collage, decode_mask

NAME = "1_change_object_80/1_artificial/1_animal/111000000000.jpg"


@pytest.fixture
def item():
    return {
        "image_path": NAME,
        "original_prompt": "a [cat] (old) sits",
        "editing_prompt": "a [dog] (old) sits",
        "editing_instruction": "change the cat to a dog",
        "editing_type_id": "1",
        "blended_word": "cat dog",
        "mask": [513, 2, 262000, 9999],
    }


def write(directory, **items):
    (directory / "mapping_file.json").write_text(json.dumps(items), encoding="utf-8")
    picture = directory / "annotation_images" / NAME
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE, SIDE)).save(picture)
    return directory


def test_masks_are_the_reference_s(golden):
    _, description = golden("metrics_rle")
    assert len(description["cases"]) == 12
    for case in description["cases"]:
        shape = tuple(case["shape"])
        if "error" in case:
            with pytest.raises(ValueError, match="expected pairs"):
                decode_mask(case["encoded"], shape)
            continue
        mask = decode_mask(case["encoded"], shape)
        content = mask.astype(np.uint8).tobytes()
        assert hashlib.sha256(content).hexdigest() == case["sha256_uint8_rowmajor"], case["name"]
        assert mask.sum() == case["ones"]


def test_items_are_samples(read, tmp_path, item):
    benchmark = read("pie-bench", write(tmp_path, **{"111000000000": item}))
    (sample,) = benchmark.samples
    assert sample.key == NAME.removesuffix(".jpg")
    assert sample.source == tmp_path / "annotation_images" / NAME
    assert sample.instruction == "change the cat to a dog" and sample.type == "modify"
    assert (sample.source_prompt, sample.target_prompt) == ("a cat (old) sits", "a dog (old) sits")
    assert sample.mask.shape == (SIDE, SIDE) and sample.mask[1, 1:3].all()
    assert not sample.mask[1, 3:-1].any() and sample.mask[511].all()
    assert benchmark.size == (SIDE, SIDE)


def test_edits_are_found_by_their_stem_png_first(read, tmp_path, item):
    benchmark = read("pie-bench", write(tmp_path, a=item))
    (sample,) = benchmark.samples
    method = tmp_path / "output/method"
    assert benchmark.find_edit(method, sample) is None
    jpeg = method / "annotation_images" / NAME
    jpeg.parent.mkdir(parents=True)
    jpeg.touch()
    assert benchmark.find_edit(method, sample) == jpeg
    assert benchmark.find_edit(method / "annotation_images", sample) == jpeg
    jpeg.with_suffix(".png").touch()
    assert benchmark.find_edit(method, sample) == jpeg.with_suffix(".png")


def test_the_edit_of_a_collage_is_its_bottom_right():
    collage = Image.new("RGB", (4 * SIDE, SIDE + 20))
    collage.paste((255, 0, 0), (3 * SIDE, 20, 4 * SIDE, SIDE + 20))
    edit = crop_collage(collage)
    assert edit.size == (SIDE, SIDE) and edit.getextrema() == ((255, 255), (0, 0), (0, 0))
    for size in ((256, 256), (1024, 1024), (640, 480)):
        assert crop_collage(Image.new("RGB", size)).size == size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"editing_type_id": "10"}, "item a: editing_type_id='10': expected 0 ... 9"),
        ({"editing_instruction": None}, "item a: expected a text editing_instruction"),
        ({"mask": [5]}, "item a: expected a mask of runs: 1 numbers"),
        ({"mask": None}, "item a: expected a mask of runs"),
        ({"mask": [-5, 2]}, "item a: expected a mask of runs"),
        ({"image_path": "missing.jpg"}, r"missing.jpg: no such file.*\(1 of 1 are missing\)"),
    ],
)
def test_wrong_items_are_named(read, tmp_path, item, change, message):
    with pytest.raises(ConfigError, match=message):
        read("pie-bench", write(tmp_path, a=item | change))


def test_another_layout_says_what_was_expected(read, tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ConfigError, match=r"expected mapping_file.json or .* found pictures"):
        read("pie-bench", tmp_path)
    with pytest.raises(ConfigError, match="no such directory"):
        read("pie-bench", tmp_path / "nowhere")
    (tmp_path / "mapping_file.json").write_text("[]")
    with pytest.raises(ConfigError, match="expected a JSON object"):
        read("pie-bench", tmp_path)
