"""The host neither reads nor sends anything while tokens or scales are sampled.

A program that is lowered for CUDA needs no card: what it would call there can be read.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from jaxedit.config import EDITAR_PRESETS, PRESETS, EditARConfig, VAREditConfig
from jaxedit.models import editar, varedit
from jaxedit.nn import kernels
from jaxedit.rng import key_for
from jaxedit.sampling import next_scale, next_token, sample_editar, token_loop
from jaxedit.sampling.decode_weights import unstack
from jaxedit.sampling.methods import BitSampling, TokenSampling, draw_uniforms, numbers_of

TOKENS = EditARConfig(
    layers=1,
    width=16,
    heads=2,
    mlp_hidden=16,
    codes=40,
    grid=2,
    text_tokens=3,
    text_width=8,
    distill_width=0,
)
SEGMENT = 2  # tokens: two programs for a picture
generate = functools.partial(sample_editar.generate, config=TOKENS, segment=SEGMENT)


def start():
    """The arguments of `generate` for two pictures, on the device."""
    key = key_for(0, "init")
    params, null = editar.init_params(TOKENS, key), editar.init_null(TOKENS, key)
    weights = unstack(TOKENS, params, null, "bfloat16")
    prefix = next_token.prefill_image(weights, TOKENS, jnp.zeros((2, 4), jnp.int32))
    text = jnp.ones((2, 2, TOKENS.text_tokens, TOKENS.text_width))
    started = next_token.start(weights, TOKENS, prefix, text, slots=SEGMENT + 1)
    state = token_loop.State(*started, jnp.int32(0))
    numbers = jax.tree.map(jnp.asarray, numbers_of(EDITAR_PRESETS["tiny"].token_sample))
    return weights, prefix, state, TokenSampling(jnp.zeros(2, jnp.int32), numbers)


def lowered_for_cuda(function, arguments) -> str:
    """The program of a function; a value that the host had to read would be an error here."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def calls(program: str) -> set[str]:
    """The names of all that a program calls besides the compiler's own operations."""
    assert not re.search(r"stablehlo\.(infeed|outfeed|send|recv)\b", program)
    return set(re.findall(r"custom_call @([\w$.]+)", program))


def test_tokens_call_nothing_but_the_compiler_s_own_operations():
    program = lowered_for_cuda(generate, jax.eval_shape(start))
    assert "stablehlo.while" in program and calls(program) == set()


def test_nothing_is_sent_for_a_token():
    arguments = jax.jit(start)()
    state = jax.tree.map(jnp.copy, arguments[2])  # the first call takes the memory of its state
    tokens, *_ = generate(*arguments)
    with jax.transfer_guard("disallow_explicit"):
        again, *_ = generate(*arguments[:2], state, arguments[3])
        with pytest.raises(jax.errors.JaxRuntimeError, match="host-to-device"):
            jax.device_put(np.zeros(1))
    np.testing.assert_array_equal(again, tokens)


SCALES = VAREditConfig(
    depth=2,
    width=64,
    heads=1,
    mlp_hidden=64,
    bits=2,
    text_width=8,
    text_pool_heads=1,
    max_text_tokens=6,
    rope_mode="grid",
    scales=((1, 1), (4, 4), (16, 16), (24, 24)),
)


def test_scales_attend_by_cudnn_without_the_host(monkeypatch):
    monkeypatch.setattr(kernels, "device_kind", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)

    def arguments():
        params = varedit.init_params(SCALES, key_for(0, "init"))
        source = jnp.zeros((1, 24 * 24, 2))
        text, mask = jnp.zeros((1, 6, 8)), jnp.ones((1, 6), bool)
        uniforms = draw_uniforms(key_for(0, "bits")[None], SCALES.scales, SCALES.token_bits)
        numbers = jax.tree.map(jnp.asarray, numbers_of(PRESETS["tiny"].sample, 4))
        return params, text, mask, source, BitSampling(uniforms, numbers)

    sample = functools.partial(
        next_scale.generate,
        varedit.VAREdit(SCALES, "bfloat16"),
        scales=SCALES.scales,
        rope_scales=SCALES.rope_scales,
    )
    program = lowered_for_cuda(sample, jax.eval_shape(arguments))
    # The other call is XLA's own, for memory that is not cleared: the caches.
    assert calls(program) == {"__cudnn$fmhaSoftmax", "AllocateBuffer"}
    assert not re.search(r"x576x(576|1425)x", program)  # scores of the source, of the last scale
