import zlib

from fabricate_pictures import encoded, noise, with_chunks
from PIL import Image

from jaxedit.data.pictures import png_chunks

PNG = encoded(noise(4, 3))


def test_chunks_by_hand():
    found = list(png_chunks.chunks(PNG))
    assert [chunk.name for chunk in found] == [b"IHDR", b"IDAT", b"IEND"]
    assert all(chunk.is_sound for chunk in found)
    assert bytes(found[0].content[:8]) == b"\0\0\0\4\0\0\0\3"
    assert found[2].whole == b"\0\0\0\0IEND\xaeB`\x82"  # as in every PNG file
    assert png_chunks.make_chunk(b"IEND", b"") == found[2].whole
    assert png_chunks.MAGIC + b"".join(chunk.whole for chunk in found) == PNG


def test_what_follows_the_end_is_not_read():
    zipped = PNG + b"PK\3\4" + bytes(99)
    assert [chunk.name for chunk in png_chunks.chunks(zipped)] == [b"IHDR", b"IDAT", b"IEND"]


def test_a_file_that_is_cut_short():
    *_, last = png_chunks.chunks(PNG[:-20])
    assert last.name == b"IDAT" and not last.is_sound


def test_texts_of_three_kinds():
    text = "größer".encode()
    data = with_chunks(
        PNG,
        (b"tEXt", b"a\0plain"),
        (b"zTXt", b"a\0\0" + zlib.compress(b"packed" * 1_000_000)),
        (b"iTXt", b"a\0\0\0en\0key\0" + text),
        (b"iTXt", b"a\0\1\0\0\0" + zlib.compress(text)),
        (b"tEXt", b"b\0other"),
        (b"zTXt", b"a\0\0damaged"),
        (b"tEXt", b"no key"),
    )
    wanted = [b"plain", b"packed" * 1_000_000, text, text]
    assert list(png_chunks.texts(data, "a")) == [("a", value) for value in wanted] * 2
    assert list(png_chunks.texts(b"GIF89a", "a")) == []


def test_texts_that_pillow_wrote(tmp_path):
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b☃", zip=True)
    Image.new("L", (1, 1)).save(tmp_path / "a.png", pnginfo=info)
    data = (tmp_path / "a.png").read_bytes()
    assert dict(png_chunks.texts(data, "a"))["a"].decode() == "b☃"


def test_what_does_not_unpack():
    assert png_chunks.inflated(zlib.compress(b"abc")) == b"abc"
    assert png_chunks.inflated(zlib.compress(b"abc" * 99)[:-6]) is None
    assert png_chunks.inflated(b"abc") is None
    assert png_chunks.inflated(zlib.compress(bytes((64 << 20) + 1))) is None
