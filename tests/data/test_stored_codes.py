import numpy as np
import pytest
from fabricate_store import make_record, picture, write_store

from jaxedit.config import VQConfig
from jaxedit.data import stored_codes
from jaxedit.data.encoded_pictures import EncodedPictures
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.store import Store
from jaxedit.data.stored_codes import Encoding, NoCodes, StoredCodes, hash_weights
from jaxedit.data.transforms import Fit

ENCODING = Encoding("abc", image_size=16, fit="crop editar", tokens=4, vocabulary=300)
FIT = Fit("crop", "editar")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of five rows, two of which share a file of codes."""
    monkeypatch.setattr(stored_codes, "BLOCK_ROWS", 2)
    return Store(write_store(tmp_path / "mine", [make_record(i) for i in range(5)]))


def numbers(rows, pictures=2):
    """Codes that tell their row and their picture."""
    codes = [[[10 * row + which] * 4 for which in range(pictures)] for row in rows]
    return np.array(codes, np.int32)


def write_all(store, encoding=ENCODING):
    codes = StoredCodes.create(store, encoding)
    for block in codes.blocks:
        codes.write(block, numbers(codes.rows_of(block), len(codes.pictures)))
    return codes


def test_codes_of_a_row(store):
    write_all(store)
    codes = StoredCodes.load(store, ENCODING)
    assert [len(codes.rows_of(block)) for block in codes.blocks] == [2, 2, 1]
    np.testing.assert_array_equal(codes[3], [[30] * 4, [31] * 4])
    np.testing.assert_array_equal(codes.pair(4, "target", "source"), [[41] * 4, [40] * 4])
    assert codes[3].dtype == np.int32 and np.load(codes.directory / "00000.npy").dtype == np.uint16


@pytest.mark.parametrize("content", [None, b"", b"damaged", "truncated", "short"])
def test_a_file_that_is_not_whole_is_missing(store, content):
    codes = write_all(store)
    file = codes.directory / "00001.npy"
    whole = file.read_bytes()
    file.unlink()
    if content == "short":
        np.save(file, np.zeros((1, 2, 4), np.uint16))
    elif content is not None:
        file.write_bytes(whole[:-3] if content == "truncated" else content)
    with pytest.raises(NoCodes, match="1 of 3 files are missing"):
        StoredCodes.load(store, ENCODING)
    assert [codes.is_written(block) for block in codes.blocks] == [True, False, True]


def test_other_codes_are_told_from_these(store, tmp_path):
    with pytest.raises(NoCodes, match="mine has none"):
        StoredCodes.load(store, ENCODING)
    write_all(store)
    for other, told in (
        (ENCODING._replace(tokenizer="abd"), "tokenizer=abc, not abd"),
        (ENCODING._replace(image_size=32, tokens=16), "image_size=16, not 32, tokens=4, not 16"),
        (ENCODING._replace(fit="pad"), "fit=crop editar, not pad"),
    ):
        with pytest.raises(NoCodes, match=told):
            StoredCodes.load(store, other)
    again = Store(write_store(tmp_path / "mine", [make_record(9 - i) for i in range(6)]))
    with pytest.raises(NoCodes, match="store=.*rows=5, not 6"):  # of the conversion before
        StoredCodes.load(again, ENCODING)


def test_weights_of_the_decoder_do_not_count():
    ones = {name: {"kernel": np.ones(3)} for name in ("encoder", "quant_conv", "decoder")}
    params = {**ones, "codebook": np.ones((2, 2), np.float16)}
    found = hash_weights(VQConfig(), params)
    assert found == hash_weights(VQConfig(), params | {"decoder": {}, "codebook": np.ones((2, 2))})
    assert found != hash_weights(VQConfig(), params | {"codebook": np.ones((4, 1))})
    assert found != hash_weights(VQConfig(), params | {"encoder": {"kernel": np.zeros(3)}})
    assert found != hash_weights(VQConfig(unit_norm=False), params)


def test_maps_have_codes_of_the_edges_too(tmp_path):
    rows = [make_record(i, task="depth", source=picture((i, 0, 0))) for i in range(2)]
    store = Store(write_store(tmp_path / "depth", rows))
    codes = StoredCodes.create(store, ENCODING)
    assert codes.pictures == ("source", "target", "edges")
    found = EncodedPictures(store, codes.pictures, 16, FIT)[1]
    assert found.shape == (3, 16, 16, 3) and (found[0] == (1, 0, 0)).all()
    assert (found[1] == (1, 255, 0)).all()
    np.testing.assert_array_equal(found[2], edge_map(found[1]))
