"""Files under a checkpoint's name that are incomplete or hold something else."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import numpy as np
import pytest
import torch_writer
from attack import harmless
from safetensors.numpy import save

from jaxedit.checkpoints import contents, shards
from jaxedit.convert.state_dict import open_state

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
ARRAYS = {"w": np.arange(4, dtype=np.float32)}


def archive(*names):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name))
    return data.getvalue()


def zipped(*names, method=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name in names:
            file.writestr(name, b"x" * 99)
    return data.getvalue()


FILES = {
    "pointer": (POINTER, "a Git LFS pointer of a file of 12,345 bytes, not the weights: run git"),
    "pointer of Windows": (POINTER.replace(b"\n", b"\r\n"), "a Git LFS pointer"),
    "empty": (b"", "an empty file of 0 bytes: fetch it again"),
    "page": (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", "a web page .HTML.*Sign in"),
    "page after a space": (b"\n\n  <HTML lang='de'>" + b"x" * 9999, "a web page"),
    "page after a comment": (b"<!-- saved -->\n<html>", "a web page"),
    "page with a mark": (b"\xef\xbb\xbf<!doctype html>", "a web page"),
    "page in UTF-16": ("<html><body>Anmelden".encode("utf-16"), "a web page"),
    "page in Latin-1": ("<html><body>créé".encode("latin-1"), "a web page"),
    "page cut in a letter": (b"<html>" + "é".encode() * 700, "a web page"),
    "error of a bucket": (b"<?xml version='1.0'?><Error><Code>NoSuchKey", "in XML.*NoSuchKey"),
    "error of another": (b"<Error><Code>AccessDenied</Code></Error>", "in XML.*AccessDenied"),
    "error of the Hub": (b'{"error":"Repository not found"}', "in JSON.*Repository not found"),
    "a list": (b"\n[1, 2]", "in JSON"),
    "a word": (b"Entry not found", "a text, not the weights: Entry not found"),
    "a dangerous word": (b"Not\x1b[2J found", "."),
    "zeros": (bytes(5000), "it begins with zeros, as an incomplete download does"),
    "gzip": (gzip.compress(b"x" * 99), "compressed by gzip: gunzip it first"),
    "bzip2": (bz2.compress(b"x" * 99), "compressed by bzip2"),
    "xz": (lzma.compress(b"x" * 99), "compressed by xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(99), "compressed by zstd"),
    "tar": (archive("out/model.pth", "log.txt"), "a tar archive of out/model.pth, log.txt: unpack"),
    "empty tar": (bytes(10240), "."),
    "tar of PyTorch 0.1": (archive("sys_info", "pickle", "tensors"), "format of PyTorch 0.1; save"),
    "damaged tar": (bytes(200) + b"x" * 57 + b"ustar" + b"x" * 99, "a damaged tar archive"),
    "numpy": (b"\x93NUMPY" + bytes(99), "an array of numpy"),
    "GGUF": (b"GGUF\3\0\0\0", "a GGUF file"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG picture"),
    "zip of a checkpoint": (zipped("model.pth"), "it holds model.pth: .*unpack it first"),
    "arrays of numpy": (zipped("a.npy", "b.npy", method=0), "it holds a.npy, b.npy"),
    "TorchScript": (zipped("m/data.pkl", "m/constants.pkl", "m/code/x.py"), "TorchScript program"),
    "empty zip": (zipped(), "a zip archive without any file"),
    "noise": (bytes(range(1, 256)), "."),
}


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "model", "model.ckpt"])
@pytest.mark.parametrize("kind", FILES)
def test_files_are_called_by_their_names(tmp_path, kind, name):
    data, message = FILES[kind]
    (tmp_path / name).write_bytes(data)
    with harmless(tmp_path), pytest.raises(ValueError, match=message) as told:
        open_state(tmp_path / name)
    shown = str(told.value)
    assert shown.startswith(f"{tmp_path / name}: ") and shown.isprintable() and len(shown) < 700


def test_a_model_of_ours_whose_weights_are_a_pointer(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(ValueError, match="model.safetensors: .* a Git LFS pointer"):
        shards.read(tmp_path)


@pytest.mark.parametrize("name", ["a.tar", "a.bin", "a.ckpt", "a", "a.pth.bak", "a.safetensors"])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_the_content_decides_not_the_name(tmp_path, kind, name):
    path = tmp_path / name
    if kind == "torch":
        torch_writer.save(path, ARRAYS)
    else:
        path.write_bytes(save(ARRAYS))
    assert open_state(path).arrays["w"][...].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", ["", *contents.PARTIAL])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_incomplete_downloads(tmp_path, kind, suffix):
    path = tmp_path / f"model.any{suffix}"
    torch_writer.save(path, ARRAYS | {"v": np.ones(300)})
    whole = path.read_bytes() if kind == "torch" else save(ARRAYS | {"v": np.ones(300)})
    for length in (len(whole) - 1, len(whole) // 2, 70, 20):
        path.write_bytes(whole[:length])
        with harmless(tmp_path), pytest.raises(ValueError, match="cut short") as told:
            open_state(path)
        assert (f"an incomplete download ({suffix})" in str(told.value)) == bool(suffix)
    path.write_bytes(whole)
    assert len(open_state(path).arrays) == 2


def test_a_folder_with_nothing_but_an_incomplete_download(tmp_path):
    (tmp_path / "model.safetensors.incomplete").write_bytes(b"")
    message = "found 0, but incomplete downloads: model.safetensors.incomplete"
    with pytest.raises(ValueError, match=message):
        open_state(tmp_path)


@pytest.mark.parametrize("names", [(), ("model.pth.part",), ("other.part",)])
def test_the_incomplete_download_of_an_absent_file(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    found = contents.partial_beside(tmp_path / "model.pth")
    assert found == ("model.pth.part" if "model.pth.part" in names else "")


@pytest.mark.parametrize("present", [(), ("m-00002-of-00003.safetensors",)])
def test_shards_that_are_missing(tmp_path, present):
    names = [f"m-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    weight_map = {str(n): name for n, name in enumerate(names)}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for name in present:
        (tmp_path / name).write_bytes(save({"1": ARRAYS["w"]}))
    message = f"index.json: {3 - len(present)} of 3 files are missing beside it: {names[0]}"
    with pytest.raises(FileNotFoundError, match=message):
        open_state(tmp_path)


def test_pieces_without_their_index(tmp_path):
    (tmp_path / "m-00001-of-00002.safetensors").write_bytes(save(ARRAYS))
    for path in (tmp_path, tmp_path / "m-00001-of-00002.safetensors"):
        with pytest.raises(ValueError, match="piece 1 of 2: expected the folder with all of them"):
            open_state(path)
