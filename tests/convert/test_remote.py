"""gs:// paths, on a bucket in memory behind the same two packages, etils and fsspec."""

import builtins

import jax
import numpy as np
import pytest
from etils import epath
from etils.epath import backend

from jaxedit import Editor
from jaxedit.checkpoints import hub, shards
from jaxedit.checkpoints.pretrained import is_pretrained, load_pretrained, save_pretrained
from jaxedit.config import ConfigError
from jaxedit.data.text_tokenizer import TextTokenizer


def test_weights_are_written_read_and_replaced(tiny_model, bucket, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2_000_000)
    config, params, _ = load_pretrained(tiny_model)
    where = "gs://bucket/models/tiny"
    assert save_pretrained(where, config, params, tiny_model) == epath.Path(where)
    assert "/bucket/models/tiny/model.safetensors.index.json" in bucket
    found, loaded, directory = load_pretrained(where)
    assert found == config and str(directory) == where
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    monkeypatch.setattr(shards, "SHARD_BYTES", 10**9)
    save_pretrained(where, config, params, where)
    assert {name.rsplit("/", 1)[1] for name in bucket} == {
        *("config.json", "README.md", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    }


def test_an_interrupted_model_is_none_and_can_be_begun_again(tiny_model, bucket):
    config, params, _ = load_pretrained(tiny_model)
    params["t5"]["norm"]["scale"] = np.full(64, np.nan, np.float32)
    with pytest.raises(ValueError, match="not finite in t5/norm/scale"):
        save_pretrained("gs://bucket/tiny", config, params, tiny_model)
    assert is_pretrained(epath.Path("gs://bucket/tiny"))
    with pytest.raises(ConfigError, match="missing keys"):
        load_pretrained("gs://bucket/tiny")
    save_pretrained("gs://bucket/tiny", config, load_pretrained(tiny_model)[1], tiny_model)
    load_pretrained("gs://bucket/tiny", ["t5"])
    epath.Path("gs://bucket/other/thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="not a pretrained directory"):
        save_pretrained("gs://bucket/other", config, params, tiny_model)


def test_an_editor_begins_there(tiny_model, bucket):
    for file in tiny_model.iterdir():
        epath.Path(f"gs://bucket/tiny/{file.name}").write_bytes(file.read_bytes())
    words = TextTokenizer.load("gs://bucket/tiny").encode("make the ball blue")
    assert words == TextTokenizer.load(tiny_model).encode("make the ball blue")
    editor, local = (Editor.from_pretrained(n) for n in ("gs://bucket/tiny", tiny_model))
    jax.tree.map(np.testing.assert_array_equal, editor.params, local.params)
    assert editor.name == "gs://bucket/tiny" and editor.fingerprint == local.fingerprint


def test_what_is_not_there(bucket):
    with pytest.raises(FileNotFoundError, match="gs://bucket/none"):
        hub.resolve("gs://bucket/none")
    with pytest.raises(FileNotFoundError, match="expected tokenizer.json or spiece.model in it"):
        TextTokenizer.load("gs://bucket/none")


def test_without_the_package(tiny_model, monkeypatch):
    def refuse(name, *args, **options):
        if name.split(".")[0] == "gcsfs":
            raise ImportError("no gcsfs")
        return load(name, *args, **options)

    load = builtins.__import__
    backend.fsspec_backend._get_filesystem.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    config, params, _ = load_pretrained(tiny_model)

    def save(name):
        save_pretrained(name, config, params, tiny_model)

    for use in (hub.resolve, TextTokenizer.load, save):
        with pytest.raises(OSError, match="pip install gcsfs"):
            use("gs://bucket/tiny")
