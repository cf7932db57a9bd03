"""Tests run on eight simulated CPU devices, at highest matmul precision, warnings as errors."""

import atexit
import copy
import dataclasses
import gc
import json
import os
import pathlib
import shutil
import signal
import tempfile
from typing import NamedTuple

import jax
import numpy as np
import pytest
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from jaxtyping import install_import_hook
from safetensors.numpy import load_file

# Arguments, results and fields of these packages are checked against their annotations, shapes
# included. An int may stand for a float, as for every type checker. `Editor` and `Generator` check
# what users give them and say so in their own words, so they are not hooked.
if "JAXTYPING_DISABLE" not in os.environ:  # set for stacks other than the suite's own
    install_import_hook(
        (
            "jaxedit.ops",
            "jaxedit.nn",
            "jaxedit.models",
            "jaxedit.sampling",
            "jaxedit.sharding.rules",
            "jaxedit.chat",
            "jaxedit.data",
            "jaxedit.datasets",
            "jaxedit.erec",
            "jaxedit.evaluate",
            "jaxedit.analyse",
            "jaxedit.editor.pipeline",
            "jaxedit.editor.pipeline_editar",
            "jaxedit.editor.pipeline_varedit",
            "jaxedit.editor.text_features",
            "jaxedit.editor.text_features_file",
            "jaxedit.editor.edit_memory",
            "jaxedit.editor.memory_phases",
            "jaxedit.editor.list_file",
            "jaxedit.editor.provenance",
            "jaxedit.rng",
            "jaxedit.tree",
            "jaxedit.console",
            "jaxedit.compile_cache",
            "jaxedit.progress",
            "jaxedit.warn_once",
            "jaxedit.atomic_write",
            "jaxedit.assets",
            "jaxedit.checkpoints",
            "jaxedit.convert",
            "jaxedit.planning",
            "jaxedit.train",
        ),
        "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
    )

from jaxedit.checkpoints import pretrained
from jaxedit.config import EDITAR_PRESETS, PRESETS, Scales, VAREditConfig
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_varedit import KEYMAP

# A shell that starts the suite in the background has Ctrl-C ignored, which tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Most of the suite's time is XLA compiling programs that run once: none is optimised, and the older
# emitters take a third of the time of XLA's default. Workers and commands that tests start as
# processes inherit this; the smoke tests, with the variable set to 0, compile as for users.
if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

# All tests, workers and processes that tests start share their compiled programs. To keep them for
# the next run, set the variable to a directory.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxedit-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

GOLDEN = pathlib.Path(__file__).parent / "golden"
MEMORY = 3e9  # bytes of one process of tests


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs stay in memory, for other files of tests, only while there is enough."""
    yield
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])  # resident
    if pages * os.sysconf("SC_PAGE_SIZE") > MEMORY:
        jax.clear_caches()


def pytest_collection_finish():
    """Keep garbage collections few, and from walking through all modules and tests each time.

    Tracing a model makes many objects that stay: Python's default looks at them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def golden():
    """`golden(name)` -> (arrays, description) of one file of reference outputs."""

    def load(name: str):
        arrays = GOLDEN / f"{name}.safetensors"
        description = json.loads((GOLDEN / f"{name}.json").read_text())
        return (load_file(arrays) if arrays.exists() else {}), description

    return load


class VAREditCase(NamedTuple):
    """A golden VAREdit: reference arrays, their description, our config, params and text."""

    arrays: dict[str, np.ndarray]
    description: dict
    config: VAREditConfig
    params: dict
    text: np.ndarray
    text_mask: np.ndarray


@pytest.fixture(scope="session", params=("a256", "b_patchify"))
def varedit_case(request, golden) -> VAREditCase:
    """Both golden transformers; padding of the text holds large numbers on purpose."""
    return golden_varedit(*golden(f"varedit_transformer_{request.param}"))


@pytest.fixture(scope="session")
def infinity_case(golden) -> VAREditCase:
    """The golden transformer that reads no source picture."""
    return golden_varedit(*golden("infinity_t2i_tiny"), conditioning="none", rope_mode="grid")


def golden_varedit(arrays: dict, description: dict, **settings) -> VAREditCase:
    """Our settings, parameters and padded texts of a golden transformer."""
    c = description["config"]
    config = VAREditConfig(
        depth=c["depth"],
        width=c["embed_dim"],
        heads=c["num_heads"],
        mlp_hidden=c["mlp_hidden"],
        bits=c["vae_codebook_dim"],
        patchify=bool(c["apply_spatial_patchify"]),
        text_width=c["text_channels"],
        text_pool_heads=c["text_pool_heads"],
        max_text_tokens=c["text_maxlen"],
        scales=schedule(c["scale_schedule"]),
        rope_scales=schedule(c["rope_table_schedule_1M"]),
        **settings,
    )
    config.validate()
    lengths = arrays["in.text_lens"]
    text = np.full((len(lengths), max(lengths) + 2, config.text_width), 99.0, np.float32)
    mask = np.arange(text.shape[1])[None, :] < lengths[:, None]
    text[mask] = arrays["in.text_feat"]
    params = from_torch(KEYMAP, {k[3:]: v for k, v in arrays.items() if k.startswith("sd.")})
    return VAREditCase(arrays, description, config, params, text, mask)


def schedule(sizes: list[list[int]]) -> Scales:
    """Our scales of a golden schedule of (1, h, w)."""
    return tuple((h, w) for _, h, w in sizes)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Directory of an editor with random weights, small enough to compile in seconds."""
    config = copy.deepcopy(PRESETS["tiny"])
    config.varedit = dataclasses.replace(
        config.varedit, depth=2, width=32, heads=2, mlp_hidden=64, scales=((1, 1), (2, 2), (4, 4))
    )
    config.t5.layers = 1
    return save_random(config, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_editar(tmp_path_factory):
    """The same of EditAR: 16 px pictures of 4x4 tokens."""
    config = copy.deepcopy(EDITAR_PRESETS["tiny"])
    config.editar = dataclasses.replace(
        config.editar, layers=2, width=32, heads=2, mlp_hidden=48, codes=40, grid=4
    )
    config.vq = dataclasses.replace(
        config.vq, codes=40, code_width=4, channel_mult=(1, 1, 1), latent_width=24
    )
    config.token_sample = dataclasses.replace(config.token_sample, top_k=20)
    config.t5.layers = 1
    return save_random(config, tmp_path_factory.mktemp("models") / "tiny-editar")


@pytest.fixture(scope="session")
def tiny_infinity(tmp_path_factory, tiny_model):
    """A model that draws 32 px pictures from texts, scale by scale."""
    config = pretrained.read_config(tiny_model)
    config.varedit = dataclasses.replace(config.varedit, conditioning="none", rope_mode="grid")
    return save_random(config, tmp_path_factory.mktemp("models") / "tiny-infinity")


@pytest.fixture(scope="session")
def tiny_llamagen(tmp_path_factory, tiny_editar):
    """A model that draws 16 px pictures from texts, token by token."""
    config = pretrained.read_config(tiny_editar)
    config.editar = dataclasses.replace(config.editar, prefix="text")
    return save_random(config, tmp_path_factory.mktemp("models") / "tiny-llamagen")


@pytest.fixture(scope="session")
def tiny_classes(tmp_path_factory, tiny_editar):
    """The same from ten classes."""
    config = pretrained.read_config(tiny_editar)
    config.editar = dataclasses.replace(config.editar, prefix="class", classes=10)
    return save_random(config, tmp_path_factory.mktemp("models") / "tiny-classes")


def save_random(config, directory):
    """Write a model with random weights."""
    generator = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: 0.2 * generator.standard_normal(leaf.shape, np.float32),
        pretrained.abstract_params(config),
    )
    return pretrained.save_pretrained(directory, config, params, "toy-tokenizer")


class Bucket(MemoryFileSystem):
    """What gcsfs is, as far as names go and files that cannot grow."""

    protocol = ("gcs", "gs")
    store: dict = {}
    pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + str(path).removeprefix("gs://").strip("/")

    def open(self, path, mode="rb", **options):
        return super().open(path, mode.replace("a", "w"), **options)

    def glob(self, path, **options):
        return [found.lstrip("/") for found in super().glob(path, **options)]


@pytest.fixture
def bucket(monkeypatch):
    """gs:// works; the store of its files."""
    files = backend.fsspec_backend._get_filesystem
    files.cache_clear()
    monkeypatch.setitem(_registry, "gcs", Bucket)
    monkeypatch.setattr(Bucket, "store", {})
    monkeypatch.setattr(Bucket, "pseudo_dirs", [""])
    yield Bucket.store
    files.cache_clear()
