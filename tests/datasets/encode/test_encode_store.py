import json
import types

import numpy as np
import pytest
from fabricate_store import make_record, write_store

from jaxedit.config import ConfigError
from jaxedit.data import stored_codes
from jaxedit.data.encoded_pictures import EncodedPictures
from jaxedit.data.store import Store
from jaxedit.data.stored_codes import Encoding, StoredCodes
from jaxedit.data.transforms import Fit
from jaxedit.datasets.encode.check_codes import check_codes
from jaxedit.datasets.encode.encode_store import encode_store
from jaxedit.datasets.encode.picture_encoder import Encoded, PictureEncoder
from jaxedit.engines.options import Shard

FIT = Fit("crop", "editar")
ENCODING = Encoding("abc", image_size=16, fit="crop editar", tokens=1, vocabulary=256)


class MeanRed(PictureEncoder):
    """An encoder whose only code is the mean of a picture's red channel."""

    rows = 3  # of a batch
    config = types.SimpleNamespace(unit_norm=False)
    codebook = np.arange(256, dtype=np.float32)[:, None]

    def __init__(self, dies_after=None):
        self.batches, self._dies_after = 0, dies_after

    def __call__(self, pixels):
        if self.batches == self._dies_after:
            raise KeyboardInterrupt
        self.batches += 1
        mean = pixels[..., 0].mean((2, 3), dtype=np.float32)[..., None]
        return Encoded(mean.round().astype(np.int32), mean[..., None])


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of eight rows, two of which share a file of codes."""
    monkeypatch.setattr(stored_codes, "BLOCK_ROWS", 2)
    return Store(write_store(tmp_path / "mine", [make_record(9 * i) for i in range(8)]))


def encode(store, encoder, shard=None):
    return encode_store(store, ENCODING, encoder, FIT, threads=1, shard=shard)


def files(codes):
    return sorted(path.name for path in codes.directory.iterdir() if path.suffix == ".npy")


def test_a_stopped_run_goes_on(store):
    with pytest.raises(KeyboardInterrupt):
        encode(store, MeanRed(dies_after=2))
    codes = StoredCodes.create(store, ENCODING)
    assert files(codes) == ["00000.npy", "00001.npy", "00002.npy"]  # 6 of 8 rows were encoded
    stamp = (codes.directory / "00000.npy").stat().st_mtime_ns
    encoder = MeanRed()
    encode(store, encoder)
    assert encoder.batches == 1 and (codes.directory / "00000.npy").stat().st_mtime_ns == stamp
    found = StoredCodes.load(store, ENCODING)
    assert [found[i][:, 0].tolist() for i in range(8)] == [[9 * i, 9 * i] for i in range(8)]
    assert json.loads((codes.directory / "codes.json").read_text())["rows"] == 8
    encode(store, encoder)
    assert encoder.batches == 1  # nothing is left


def test_shards_make_the_whole(store):
    codes = encode(store, MeanRed(), Shard(1, 2))
    assert files(codes) == ["00001.npy", "00003.npy"]
    encode(store, MeanRed(), Shard(0, 2))
    assert StoredCodes.load(store, ENCODING)[7][0] == 63


def test_a_wrong_row_is_named(store):
    codes = encode(store, MeanRed())
    pictures = EncodedPictures(store, codes.pictures, 16, FIT)
    check_codes(codes, pictures, range(8), MeanRed(), 1)
    wrong = np.load(codes.directory / "00002.npy")
    wrong[1, 0] = 200
    np.save(codes.directory / "00002.npy", wrong)
    check_codes(codes, pictures, [0, 1, 2, 3, 4, 6, 7], MeanRed(), 1)
    with pytest.raises(ConfigError, match=r"mine/codes-\w+: row 5: 1 of 2 codes are not those"):
        check_codes(codes, pictures, range(1, 8), MeanRed(), 1)


def test_a_tie_may_be_either_code(store):
    """A latent of 45 between codes 45 and 45.1, 0.2% further away."""
    encoder = MeanRed()
    encoder.codebook = np.where(encoder.codebook == 46, 45.1, encoder.codebook)
    codes = encode(store, encoder)
    near = np.load(codes.directory / "00002.npy")
    near[1] = 46
    np.save(codes.directory / "00002.npy", near)
    pictures = EncodedPictures(store, codes.pictures, 16, FIT)
    check_codes(codes, pictures, [5], encoder, 1)
    with pytest.raises(ConfigError, match="row 5: 2 of 2"):
        near[1] = 50
        np.save(codes.directory / "00002.npy", near)
        check_codes(codes, pictures, [5], encoder, 1)
