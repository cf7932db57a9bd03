"""Tests run on eight simulated CPU devices, at highest matmul precision, with warnings as errors."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pathlib

import jax
import pytest

jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """`golden(name)` -> (arrays, description) of one file of reference outputs."""
    import json

    from safetensors.numpy import load_file

    def load(name: str):
        description = GOLDEN / f"{name}.json"
        arrays = GOLDEN / f"{name}.safetensors"
        return (load_file(arrays) if arrays.exists() else {}), json.loads(description.read_text())

    return load
