import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import VAREditConfig
from jaxedit.models.varedit import VAREdit, init_params
from jaxedit.ops import quantize
from jaxedit.sampling import next_scale
from jaxedit.sampling.methods import BitSampling, draw_uniforms, guide_bits

TINY = VAREditConfig(
    depth=3,
    width=16,
    heads=2,
    mlp_hidden=32,
    bits=2,
    patchify=True,
    text_width=8,
    text_pool_heads=2,
    max_text_tokens=6,
    rope_mode="grid",
    scales=((1, 1), (2, 2), (3, 2)),
)
ROPE_SCALES = ((1, 1), (6, 4))
K, Q = len(TINY.scales), TINY.token_bits


def golden_run(case, name: str):
    """The inputs and settings of a golden run of the sampler."""
    run = case.description[name]
    rows = [run["sample"]]
    inputs = (case.text[rows], case.text_mask[rows], case.arrays["bsc.src_tokens"][rows])
    numbers = {"guidance": jnp.array(run["cfg"]), "temperature": jnp.array(run["tau"])}
    numbers["top_p"] = jnp.float32(run["top_p"] or 1)
    uniforms = None
    if run["top_k"] != 1:
        scales = range(len(case.config.scales))
        uniforms = tuple(case.arrays[f"{name}.u.{k}"][None] for k in scales)
    return inputs, BitSampling(uniforms, numbers)


@pytest.mark.parametrize("name", ["infer_argmax", "infer_sample"])
def test_bits_and_feature_match_release(varedit_case, name):
    config, arrays = varedit_case.config, varedit_case.arrays
    bits, feature = jax.jit(
        lambda params, inputs, method: next_scale.generate(
            VAREdit(config),
            params,
            *inputs,
            method,
            scales=config.scales,
            rope_scales=config.rope_scales,
        )
    )(varedit_case.params, *golden_run(varedit_case, name))
    for k, (got, size) in enumerate(zip(bits, config.latent_scales, strict=True)):
        grid = quantize.to_grid(got, size, config.patchify)[0]
        expected = arrays[f"{name}.bits.{k}"].astype(bool)
        np.testing.assert_array_equal(grid, expected, err_msg=f"scale {k}")
    summed = arrays[f"{name}.summed_codes"].transpose(1, 2, 0)
    np.testing.assert_allclose(feature[0], summed, atol=1e-5)


@pytest.mark.parametrize("name", ["argmax", "nonsquare", "noguidance", "sample"])
def test_bits_without_a_source_match_the_release(infinity_case, name):
    case, run = infinity_case, infinity_case.description[f"infer_{name}"]
    sizes = case.description["config"]
    kind = "_nonsquare" if name == "nonsquare" else ""
    scales = tuple((h, w) for _, h, w in sizes[f"scale_schedule{kind}"])
    rope_scales = tuple((h, w) for _, h, w in sizes[f"rope_table_schedule_1M{kind}"])
    rows = run["samples"]
    uniforms = None
    if run["top_k"] != 1:
        uniforms = tuple(case.arrays[f"infer_{name}.u.{k}"] for k in range(len(scales)))
    source = jnp.zeros((len(rows), 0, case.config.token_bits))
    numbers = {"guidance": jnp.array(run["cfg"]), "temperature": jnp.array(run["tau"])}
    numbers["top_p"] = jnp.float32(run["top_p"] or 1)
    bits, feature = jax.jit(
        lambda *arguments: next_scale.generate(
            VAREdit(case.config), *arguments, scales=scales, rope_scales=rope_scales
        )
    )(case.params, case.text[rows], case.text_mask[rows], source, BitSampling(uniforms, numbers))
    for k, (got, size) in enumerate(zip(bits, scales, strict=True)):
        expected = case.arrays[f"infer_{name}.bits.{k}"].reshape(len(rows), -1, 16)
        np.testing.assert_array_equal(got, expected.astype(bool), err_msg=f"scale {k} {size}")
    summed = case.arrays[f"infer_{name}.summed_codes"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(feature, summed, atol=1e-5)


def test_logits_of_every_scale_match_release(varedit_case):
    config, arrays = varedit_case.config, varedit_case.arrays
    inputs, method = golden_run(varedit_case, "infer_argmax")
    guidance, temperature = method.numbers["guidance"], method.numbers["temperature"]

    def run(module: VAREdit) -> list[jax.Array]:
        rows = [jnp.repeat(x, 2, axis=0) for x in inputs]
        state = module.begin(
            *rows[:2],
            jnp.array([False, True]),
            rows[2],
            scales=config.scales,
            rope_scales=config.rope_scales,
        )
        collected = []
        for k in range(len(config.scales)):
            tokens = jnp.stack([arrays[f"infer_argmax.next_tokens.{k - 1}"]] * 2) if k else None
            logits, state = module.extend(state, tokens, k, scales=config.scales)
            collected.append(logits)
        return collected

    found = jax.jit(lambda p: VAREdit(config).apply({"params": p}, method=run))(varedit_case.params)
    for k, logits in enumerate(found):
        raw = arrays[f"infer_argmax.raw_logits.{k}"]
        flat = logits.reshape(2, -1, 2 * config.token_bits)[: len(raw)]
        np.testing.assert_allclose(flat, raw, rtol=1e-4, atol=1e-4)
        guided = guide_bits(logits[0], logits[1], guidance[k], temperature[k])
        np.testing.assert_allclose(guided, arrays[f"infer_argmax.logits.{k}"], atol=5e-4)


def random_inputs(config: VAREditConfig, rows: int):
    n = sum(h * w for h, w in config.scales) if config.conditioning == "full" else 6
    keys = jax.random.split(jax.random.key(3), 2)
    text = jax.random.normal(keys[0], (rows, 5, config.text_width))
    mask = jnp.arange(5)[None] < jnp.array([3, 5, 4, 1])[:rows, None]
    return text, mask, jax.random.normal(keys[1], (rows, n, Q))


def random_params(config: VAREditConfig):
    shapes = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return structure.unflatten(
        0.3 * jax.random.normal(key, s.shape) for key, s in zip(keys, leaves, strict=True)
    )


def seeds(*values: int) -> jax.Array:
    return jnp.stack([rng.key_for(value, "bits") for value in values])


@functools.cache
def sample(config, greedy=False, guided=None):
    """`generate` for one config, jitted."""

    def run(params, text, mask, source, keys, guidance, temperature, top_p):
        uniforms = None if greedy else draw_uniforms(keys, config.scales, config.token_bits)
        numbers = {"guidance": guidance, "temperature": temperature, "top_p": top_p}
        return next_scale.generate(
            VAREdit(config),
            params,
            text,
            mask,
            source,
            BitSampling(uniforms, numbers),
            scales=config.scales,
            rope_scales=ROPE_SCALES,
            guided=guided,
        )

    return jax.jit(run)


SETTINGS = (jnp.array([2.0] * K), jnp.array([0.7] * K), jnp.float32(0.97))


@pytest.mark.parametrize(
    "conditioning", ["sar", *(pytest.param(c, marks=pytest.mark.slow) for c in ("finest", "full"))]
)
def test_sampling_agrees_with_the_training_forward(conditioning):
    config = dataclasses.replace(TINY, conditioning=conditioning)
    params, (text, mask, source) = random_params(config), random_inputs(config, 2)
    unguided = (jnp.ones(K), jnp.ones(K), jnp.float32(1))
    bits, feature = sample(config, greedy=True)(params, text, mask, source, seeds(0, 1), *unguided)
    assert feature.shape == (2, 6, 4, 2)
    cum, inputs = jnp.zeros_like(feature), []
    for k, size in enumerate(config.latent_scales):
        if k:
            inputs.append(quantize.next_input(cum, size, True))
        cum = quantize.accumulate(cum, bits[k], size, (6, 4), True)
    logits = VAREdit(config).apply(
        {"params": params},
        text,
        mask,
        jnp.zeros(2, bool),
        source,
        jnp.concatenate(inputs, axis=1),
        scales=config.scales,
        rope_scales=ROPE_SCALES,
    )
    margin = logits[..., 1] - logits[..., 0]
    assert float(abs(margin).min()) > 1e-4  # no bit is decided by rounding
    np.testing.assert_array_equal(margin > 0, jnp.concatenate(bits, axis=1))
    np.testing.assert_allclose(feature, cum, atol=1e-6)


def test_a_row_does_not_depend_on_its_batch():
    params, (text, mask, source) = random_params(TINY), random_inputs(TINY, 3)
    run = sample(TINY)
    together, _ = run(params, text, mask, source, seeds(5, 6, 7), *SETTINGS)
    alone, _ = run(params, text[2:], mask[2:], source[2:], seeds(7), *SETTINGS)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a[2:], b)
    other, _ = run(params, text[2:], mask[2:], source[2:], seeds(8), *SETTINGS)
    assert any((a != b).any() for a, b in zip(alone, other, strict=True))


def test_other_settings_do_not_compile_again():
    run, arguments = sample(TINY), (random_params(TINY), *random_inputs(TINY, 1), seeds(0))
    first, _ = run(*arguments, *SETTINGS)
    compiled = run._cache_size()
    guided, _ = run(*arguments, jnp.array([1.0, 5.0, 9.0]), jnp.array([0.1] * K), jnp.float32(0.5))
    assert run._cache_size() == compiled
    assert any((a != b).any() for a, b in zip(first, guided, strict=True))


def test_scales_without_guidance_are_those_of_guidance_one():
    inputs = random_params(TINY), *random_inputs(TINY, 2), seeds(5, 6)
    temperature, top_p = SETTINGS[1:]
    fewer = sample(TINY, guided=1)
    bits, feature = fewer(*inputs, jnp.array([2.0] * K), temperature, top_p)
    expected, whole = sample(TINY)(*inputs, jnp.array([2.0, 1.0, 1.0]), temperature, top_p)
    for a, b in zip(bits, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(feature, whole, atol=1e-6)
    flops = [
        run.lower(*inputs, *SETTINGS).cost_analysis()["flops"] for run in (sample(TINY), fewer)
    ]
    assert flops[1] < 0.8 * flops[0]


def test_wrong_source_length_is_an_error():
    text, mask, source = random_inputs(TINY, 1)
    with pytest.raises((ValueError, TypeError)):
        sample(TINY)(random_params(TINY), text, mask, source[:, :4], seeds(0), *SETTINGS)
