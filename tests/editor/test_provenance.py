import json
import zlib

import pytest
from fabricate_pictures import encoded, noise, with_chunks
from PIL import Image

from jaxedit.editor import provenance

SETTINGS = dict.fromkeys(provenance.NEEDED["edit"], 1) | {
    "instruction": "größer ☃",
    "guidance": [1.5, 2],
}


def test_settings_return_from_the_file(tmp_path):
    path = tmp_path / "a.png"
    provenance.save_png(path, Image.new("RGB", (2, 2)), SETTINGS)
    assert provenance.read_settings(path) == SETTINGS
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_other_text_in_the_file_does_not_hide_them(tmp_path):
    path = tmp_path / "a.png"
    settings = SETTINGS | {"instruction": "x" * 3_000_000}
    provenance.save_png(path, Image.new("RGB", (2, 2)), settings)
    text = b"jaxedit\0\0" + zlib.compress(json.dumps(SETTINGS).encode())
    much = (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3 << 20)))
    path.write_bytes(with_chunks(path.read_bytes(), much, (b"tEXt", b"a\0b")))
    assert provenance.read_settings(path) == settings
    path.write_bytes(with_chunks(encoded(noise(2, 2)), much, (b"zTXt", text)))  # packed by others
    assert provenance.read_settings(path) == SETTINGS


def test_colours_are_named(tmp_path):
    provenance.save_png(tmp_path / "a.png", Image.new("RGB", (2, 2)), SETTINGS)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["srgb"] == 0 and "icc_profile" not in image.info


def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "a.png"
    provenance.save_png(path, Image.new("RGB", (2, 2)), SETTINGS)
    with pytest.raises(OSError):
        provenance.save_png(path, Image.new("CMYK", (3, 3)), SETTINGS)  # PNG has no CMYK
    with Image.open(path) as image:
        assert image.size == (2, 2)
    assert len(list(tmp_path.iterdir())) == 1


def test_hash_by_hand(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert provenance.sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_files_without_settings_are_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("hello")
    for name in ("plain.png", "text.png"):
        with pytest.raises(ValueError, match=f"{name}: expected a PNG file that jaxedit wrote"):
            provenance.read_settings(tmp_path / name)
    with pytest.raises(OSError, match="no such file"):
        provenance.read_settings(tmp_path / "absent.png")
    provenance.save_png(tmp_path / "old.png", Image.new("RGB", (2, 2)), {"model": "x"})
    with pytest.raises(ValueError, match="lack method, dtype, rows_per_device"):
        provenance.read_settings(tmp_path / "old.png")


def test_unwritable_outputs_are_found_before_the_work(tmp_path):
    assert provenance.require_writable(tmp_path / "a.PNG") == tmp_path / "a.PNG"
    assert provenance.require_writable(tmp_path / "b/c/a.png") == tmp_path / "b/c/a.png"
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for name, message in [
        ("a.jpg", "ending in .png"),
        ("folder.png", "found a folder"),
        ("file/a.png", "cannot write there: Not a directory"),
    ]:
        with pytest.raises((ValueError, OSError), match=message):
            provenance.require_writable(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]
    provenance.save_png(tmp_path / "b/c/a.png", Image.new("RGB", (1, 1)), {})
    assert (tmp_path / "b/c/a.png").exists()
