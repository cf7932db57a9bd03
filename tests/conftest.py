"""Tests run on eight simulated CPU devices, at highest matmul precision, warnings as errors."""

import json
import pathlib

import jax
import pytest
from safetensors.numpy import load_file

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """`golden(name)` -> (arrays, description) of one file of reference outputs."""

    def load(name: str):
        arrays = GOLDEN / f"{name}.safetensors"
        description = json.loads((GOLDEN / f"{name}.json").read_text())
        return (load_file(arrays) if arrays.exists() else {}), description

    return load
