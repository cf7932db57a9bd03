"""`--mask` of `python -m jaxedit`, and masks in its lists."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxedit.data.pictures import photo
from jaxedit.editor import provenance

WORDS = "make the ball blue"


@pytest.fixture
def mask(here):
    """The mask of the photo in the current folder."""
    pixels = np.zeros((24, 40), bool)
    pixels[6:16, 10:30] = True
    Image.fromarray(pixels).save("mask.png")
    return pixels


def changed(path):
    """Where an edit differs from the photo."""
    return (np.asarray(photo.read(path)) != np.asarray(photo.read("photo.png"))).any(-1)


def test_an_edit_with_a_mask_is_written_and_replayed(run, here, mask):
    code, out, err = run("photo.png", WORDS, "--mask", "mask.png", "--feather", "1")
    assert (code, err) == (0, "") and "mask.png: edited where it is white, 21% of" in out
    assert changed("edited.png").any() and not changed("edited.png")[~mask].any()
    settings = provenance.read_settings("edited.png")
    assert settings["mask"] == "mask.png" and len(settings["mask_sha256"]) == 64
    assert (settings["mask_convention"], settings["feather"]) == ("white", 1)
    code, out, _ = run("--from_png", "edited.png")
    assert code == 0 and "equal to edited.png bit for bit" in out
    (here / "mask.png").rename("moved.png")
    code, _, err = run("--from_png", "edited.png")
    assert code == 2 and "mask.png: the mask is not there any more; give its path by --mask" in err
    assert run("--from_png", "edited.png", "--mask", "moved.png")[0] == 0
    Image.new("1", (40, 24), 1).save("moved.png")
    code, _, err = run("--from_png", "edited.png", "--mask", "moved.png")
    assert code == 2 and "moved.png: the mask changed: sha256" in err


def test_rows_of_a_list_have_masks_of_their_own(run, here, mask):
    Image.new("L", (40, 24)).save("black.png")
    row = {"image": "photo.png", "instruction": WORDS}
    rows = [row, row | {"mask": "mask.png"}, row | {"mask": "black.png"}, row | {"mask": "no.png"}]

    def edit(*rows):
        (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return run("--batch", "list.jsonl")

    code, out, err = edit(*rows)
    assert code == 2 and "edits: 2 of 4 edited" in out and err.count("error: ") == 2
    assert "list.jsonl:3: black.png: an empty mask" in err
    assert "list.jsonl:4: no.png: No such file or directory: expected a mask" in err
    assert changed("edits/0000-photo.png")[~mask].any()
    assert not changed("edits/0001-photo.png")[~mask].any()
    assert "2 of 2 rows were done before" in edit(*rows[:2])[1]
    assert "1 of 2 rows were done before" in edit(row, row)[1]  # the second has lost its mask
    assert changed("edits/0001-photo.png")[~mask].any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["photo.png", WORDS, "--mask", "absent.png"], "absent.png: No such file"),
        (["photo.png", WORDS, "--mask", "square.png"], "24x24 pixels, the picture has 40x24"),
        (["photo.png", WORDS, "--mask", "mask.png", "--output", "mask.png"], "the mask itself"),
        (["photo.png", WORDS, "--mask", "mask.png", "--task", "canny"], "expected no --mask"),
        (["photo.png", WORDS, "--mask", "mask.png", "--feather", "-1"], "feather=-1: expected 0"),
        (["photo.png", WORDS, "--feather", "2"], "--feather=2: expected a --mask"),
        (["--batch", "photo.png", "--mask", "mask.png"], "--batch: expected no mask beside it"),
        (["--from_png", "a.png", "--feather", "1"], "--from_png takes feather from the file"),
    ],
)
def test_bad_masks_are_one_line(run, mask, arguments, message):
    Image.new("1", (24, 24), 1).save("square.png")
    code, _, err = run(*arguments)
    assert code == 2 and message in err and err.startswith("error: ") and err.count("\n") == 1
