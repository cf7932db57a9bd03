import dataclasses

import jax
import pytest

from jaxedit.config import VAREditConfig
from jaxedit.sampling.sample_varedit import encoder_precision

HIGH, HIGHEST = jax.lax.Precision.HIGH, jax.lax.Precision.HIGHEST


@pytest.mark.parametrize(
    "conditioning, is_masked, expected",
    [
        ("sar", False, HIGH),
        ("finest", False, HIGH),
        ("sar", True, HIGHEST),
        ("full", False, HIGHEST),
    ],
)
def test_the_encoder_is_exact_where_bits_of_the_source_are_used(conditioning, is_masked, expected):
    config = dataclasses.replace(VAREditConfig(), conditioning=conditioning)
    assert encoder_precision(config, is_masked) is expected
