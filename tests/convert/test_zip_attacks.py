"""Zips made to harm, and files damaged at random: each ends in a ValueError, or can be read."""

import contextlib
import pathlib
import struct
import zipfile

import numpy as np
import pytest
import torch_writer
from attack import harmless, read_all, refuse, refuse_program, state, tensor, text
from etils import epath

from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.convert.state_dict import open_state
from jaxedit.convert.torch_reader import torch_file, torch_pickle

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("limit", ["MAX_STEPS", "MAX_BYTES"])
def test_long_pickles(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(torch_pickle, limit, 1000)
    refuse_program(tmp_path, state(b"N" * 1100), "more than 1000|at most 1000")


def test_a_pickle_of_a_terabyte(tmp_path):
    hole = torch_writer.Virtual((1 << 40,), np.dtype(np.uint8))
    torch_writer.write_zip(tmp_path / "f.pt", {"a/data.pkl": hole})
    refuse(tmp_path / "f.pt", "data.pkl of 1099511627776 bytes: at most")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("member", ["a/data.pkl", "a/data/0"])
def test_zip_bombs(tmp_path, method, member):
    with zipfile.ZipFile(tmp_path / "f.pt", "w") as file:
        for name, data in (("a/data.pkl", state(tensor())), ("a/data/0", bytes(16))):
            bomb = name == member
            file.writestr(name, bytes(1 << 24) if bomb else data, method if bomb else None)
    refuse(tmp_path / "f.pt", "is compressed")


GOOD = {"a/data.pkl": state(tensor()), "a/data/0": bytes(16)}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "found|0 members|begins with"),
        ({"data.pkl": GOOD["a/data.pkl"]}, "0 members"),
        ({"../a/data.pkl": GOOD["a/data.pkl"]}, "0 members"),
        (GOOD | {"b/data.pkl": b""}, "2 members"),
        (GOOD | {"a/byteorder": b"big"}, "byte order b'big'"),
        ({"/data.pkl": GOOD["a/data.pkl"], "/data/0": bytes(16)}, "0 members"),
        ({"a/data.pkl": GOOD["a/data.pkl"]}, "storage '0' is not in the file"),
        ({**GOOD, "a/data/0": bytes(15)}, "15 bytes"),
    ],
)
def test_zips_with_other_members(tmp_path, members, message):
    torch_writer.write_zip(tmp_path / "f.pt", members)
    refuse(tmp_path / "f.pt", message)


def test_zips_whose_directory_lies(tmp_path):
    path = tmp_path / "f.pt"
    torch_writer.write_zip(path, GOOD)
    whole = path.read_bytes()
    start = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", start + 4)
    sizes = whole.index(struct.pack("<HH", 1, 24), second) + 4
    end64 = whole.index(b"PK\6\6")

    def change(at, data):
        path.write_bytes(whole[:at] + data + whole[at + len(data) :])

    change(sizes + 16, bytes(8))  # the storage begins where the pickle does
    refuse(path, "begins inside another member")
    change(sizes, struct.pack("<QQ", 1 << 40, 1 << 40))
    refuse(path, "cut short: its members exceed the file")
    change(sizes, struct.pack("<QQ", 1 << 40, 16))
    refuse(path, "is compressed")
    change(second + 8, b"\1")
    refuse(path, "twice or encrypted")
    change(second + 46, b"a/data.p")
    path.write_bytes(path.read_bytes())
    refuse(path, ".")
    change(start + 16, b"abcd")
    refuse(path, "the checksum of data.pkl differs")
    change(end64 + 40, struct.pack("<Q", 1 << 40))  # the size of the directory
    refuse(path, ".")
    change(whole.index(b"}X\6"), b"]")
    refuse(path, "the checksum of data.pkl differs")


def test_a_directory_of_gigabytes(tmp_path):
    path = tmp_path / "f.pt"
    hole = torch_writer.Virtual((1 << 33,), np.dtype(np.uint8))
    torch_writer.write_zip(path, {"a/data.pkl": hole})
    with path.open("r+b") as file:  # all of the hole becomes the directory
        end = path.stat().st_size
        file.seek(end - 22 - 20 - 56 + 40)
        file.write(struct.pack("<QQ", end - 98 - 100, 100))
    refuse(path, "a zip directory of")


def outcome(path):
    """None where a changed file can be read to the end, else the only errors that may come."""
    try:
        read_all(path)
    except (ValueError, OSError) as error:
        assert len(str(error)) < 2000
        return error
    return None


def test_files_cut_anywhere(tmp_path):
    path = tmp_path / "f.pt"
    whole = (GOLDEN / "torch_run.pt").read_bytes()
    with harmless(tmp_path):
        for end in [*range(0, len(whole), 23), len(whole) - 1]:
            path.write_bytes(whole[:end])
            assert outcome(path) is not None, end


def test_files_with_flipped_bits(tmp_path):
    path = tmp_path / "f.pt"
    whole = (GOLDEN / "torch_run.pt").read_bytes()
    expected = {k: v.shape for k, v in open_state(GOLDEN / "torch_run.pt").arrays.items()}
    generator = np.random.default_rng(0)
    with harmless(tmp_path):
        for position in generator.choice(len(whole), 400, replace=False):
            changed = bytearray(whole)
            changed[position] ^= 1 << generator.integers(8)
            path.write_bytes(changed)
            if outcome(path) is None:  # it was in the numbers, or in what nobody reads
                assert {k: v.shape for k, v in open_state(path).arrays.items()} == expected


def test_pickles_with_changed_bytes(tmp_path):
    path = tmp_path / "f.pt"
    with zipfile.ZipFile(GOLDEN / "torch_run.pt") as file:
        members = {name: file.read(name) for name in file.namelist()}
    generator = np.random.default_rng(1)
    with harmless(tmp_path):
        for _ in range(300):
            program = bytearray(members["torch_run/data.pkl"])
            for position in generator.integers(len(program), size=generator.integers(1, 6)):
                program[position] = generator.integers(256)
            torch_writer.write_zip(path, members | {"torch_run/data.pkl": bytes(program)})
            outcome(path)


def test_random_programs(tmp_path):
    whole = [tensor(), b"ccollections\nOrderedDict\n", b"cargparse\nNamespace\n", text("model")]
    pieces = [*(bytes([b]) for b in b"()]}NtRabseuQ\x81\x85\x86\x87\x88\x94\x93K0h2"), *whole]
    generator = np.random.default_rng(2)
    members = {"a/data.pkl": torch_file.Member(0, 0, 0), "a/data/0": torch_file.Member(0, 16, 0)}
    with harmless(tmp_path):
        for _ in range(500):
            chosen = generator.integers(len(pieces), size=generator.integers(1, 40))
            names = {"torch Size": torch_pickle.Builder(lambda *a: a)}
            archive = torch_file._Archive(epath.Path(tmp_path), 999, members)
            with contextlib.suppress(ValueError):
                program = b"\x80\x02" + b"".join(pieces[i] for i in chosen) + b"."
                torch_pickle.load(program, archive.names() | names, archive.storage)


def test_what_is_no_file(tmp_path):
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    (tmp_path / "dangling.pt").symlink_to(tmp_path / "nothing")
    (tmp_path / "endless.pt").symlink_to("/dev/zero")
    for name in ("loop.pt", "dangling.pt", "absent.pt"):
        with pytest.raises(OSError, match=name):
            open_state(tmp_path / name)
    with pytest.raises(ValueError, match="not a PyTorch file"):
        open_state(tmp_path / "endless.pt")
    assert isinstance(open_state(GOLDEN / "torch_run.pt").arrays["a.bias"], LazyTensor)
