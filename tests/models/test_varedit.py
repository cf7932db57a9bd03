import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.config import PRESETS, VAREditConfig
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_varedit import KEYMAP
from jaxedit.models import varedit
from jaxedit.models.sar import SARTraining
from jaxedit.models.varedit import VAREdit, init_params
from jaxedit.models.varedit_block import BlockCausal, Context, PerLayer
from jaxedit.nn.layers import modulate
from jaxedit.sharding.rules import state_shardings

TINY = VAREditConfig(
    depth=3,
    width=16,
    heads=2,
    mlp_hidden=32,
    bits=4,
    text_width=8,
    text_pool_heads=2,
    max_text_tokens=6,
    rope_mode="grid",
    scales=((1, 1), (2, 2), (3, 3)),
    rope_scales=((1, 1), (8, 8)),
    drop_path=0.0,
)
Lt, Ls = 14, 9


def close(got, expected, name=""):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4, err_msg=name)


@functools.cache
def forward(config: VAREditConfig):
    """The jitted teacher-forced forward of one config."""
    return jax.jit(
        lambda params, *arrays: VAREdit(config).apply(
            {"params": params}, *arrays, scales=config.scales, rope_scales=config.rope_scales
        )
    )


def golden_inputs(case, inputs: str, drop=(False, False)):
    """Arguments of `forward` from a golden case."""
    arrays = case.arrays
    tokens = arrays["bsc.src_tokens"], arrays[f"bsc.{inputs}.tgt_tokens"]
    return case.text, case.text_mask, jnp.array(drop), *tokens


@pytest.mark.parametrize(
    "name, inputs, drop, conditioning",
    [
        ("logits", "noisy", (False, False), "sar"),
        ("logits_clean", "clean", (False, False), "sar"),
        ("logits_textdrop0", "noisy", (True, False), "sar"),
        ("logits_finest", "noisy", (False, False), "finest"),
    ],
)
def test_logits_match_release(varedit_case, name, inputs, drop, conditioning):
    config = dataclasses.replace(varedit_case.config, conditioning=conditioning)
    arguments = golden_inputs(varedit_case, inputs, drop)
    got = forward(config)(varedit_case.params, *arguments)
    close(got.reshape(*got.shape[:2], -1), varedit_case.arrays[f"train.{name}"])


def test_logits_without_a_source_match_the_release(infinity_case):
    case = infinity_case
    source = np.zeros((2, 0, case.config.token_bits), np.float32)
    tokens = case.arrays["bsc.clean.tgt_tokens"]
    got = forward(case.config)(
        case.params, case.text, case.text_mask, jnp.zeros(2, bool), source, tokens
    )
    close(got.reshape(*got.shape[:2], -1), case.arrays["train.logits_clean"])


def first_layers(module: VAREdit, case) -> dict[str, jax.Array]:
    """The intermediate results that the golden files hold, by their names there."""
    config, arrays, mask = case.config, case.arrays, case.text_mask
    cond, text = module.text(case.text, mask, jnp.zeros(2, bool))
    ada = module.modulation(cond)
    table = module.rotary(config.scales, config.rope_scales)
    source = module.embed_source(arrays["bsc.src_tokens"], config.scales)
    target = module.embed_target(cond, arrays["bsc.noisy.tgt_tokens"], config.scales)
    x = jnp.concatenate([source, target], axis=1)
    found = {"cond_BD": cond, "ca_kv": text[mask], "ada_cond": ada[:, None], "block0_in": x[0]}

    block, pattern = module.first_block, SARTraining(config.scales)
    found |= attention_outputs(block, x, ada, text, mask, table, pattern, "block0")
    context = Context(ada, text, mask, table)
    found["block0_out"], _ = block(x, PerLayer(), context, pattern, None)
    found["block0_out"] = found["block0_out"][0]
    return found


def attention_outputs(block, x, ada, text, mask, table, pattern, name) -> dict[str, jax.Array]:
    """Outputs of a block's two attentions for sample 0."""
    terms = ada + block.ada_bias[None]
    sa, _ = block.attn(modulate(x, terms[:, 2], terms[:, 4], 1e-6), table, pattern, None)
    after = x + terms[:, 0][:, None] * sa
    ca = block.cross(block.cross_norm(after), block.cross.keys_values(text), mask)
    return {f"{name}_sa_out": sa[0], f"{name}_ca_out": ca[0]}


def test_intermediate_results_match_release(varedit_case):
    model = VAREdit(varedit_case.config)
    found = jax.jit(lambda p: model.apply({"params": p}, varedit_case, method=first_layers))(
        varedit_case.params
    )
    for name, value in found.items():
        if f"train.{name}" in varedit_case.arrays:
            close(value, varedit_case.arrays[f"train.{name}"], name)


def second_layer(case) -> dict[str, jax.Array]:
    """Results of block 1, run outside the scan on the parameters of its first layer."""
    config, params = case.config, case.params
    one = dataclasses.replace(config, depth=2)
    blocks = jax.tree.map(lambda x: x[:1], params["blocks"])
    first = jax.tree.map(lambda x: x[0], params["blocks"])

    def run(module: VAREdit):
        x = jnp.asarray(case.arrays["train.block0_out"])[None]
        cond, text = module.text(case.text[:1], case.text_mask[:1], jnp.zeros(1, bool))
        ada = module.modulation(cond)
        table = module.rotary(config.scales, config.rope_scales)
        blocks = tuple(h * w for h, w in (*config.scales[-1:], *config.scales))
        pattern = BlockCausal(blocks)
        names = attention_outputs(
            module.first_block, x, ada, text, case.text_mask[:1], table, pattern, "block1"
        )
        context = Context(ada, text, case.text_mask[:1], table)
        return names | {"block1_out": module.blocks(x, PerLayer(), context, pattern, None)[0][0]}

    swapped = params | {"first_block": first, "blocks": blocks}
    return jax.jit(lambda p: VAREdit(one).apply({"params": p}, method=run))(swapped)


def test_second_block_matches_release(varedit_case):
    for name, value in second_layer(varedit_case).items():
        if f"train.{name}" in varedit_case.arrays:
            close(value, varedit_case.arrays[f"train.{name}"], name)


def reweighted_loss(case, params) -> jax.Array:
    """Bit loss of the noisy inputs; the weight of a token falls with the side of its scale."""
    logits = jax.nn.log_softmax(forward(case.config)(params, *golden_inputs(case, "noisy")))
    bits = case.arrays["bsc.noisy.gt_bits"].astype(bool)
    entropy = -jnp.where(bits, logits[..., 1], logits[..., 0]).mean(-1)  # [B,Lt]
    weights = np.concatenate([np.full(h * w, (h * w) ** -0.5) for h, w in case.config.scales])
    return (entropy * (weights / weights.sum())[None]).sum(1).mean()


def test_loss_and_gradients_match_release(varedit_case):
    loss, grads = jax.jit(jax.value_and_grad(lambda p: reweighted_loss(varedit_case, p)))(
        varedit_case.params
    )
    arrays = varedit_case.arrays
    close(loss, arrays["train.loss_reweighted"][0])
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    close(norm, arrays["train.grad_global_norm"][0])
    expected = {k[11:]: v for k, v in arrays.items() if k.startswith("train.grad.")}
    assert len(expected) >= 6
    flat = tree.flatten(grads)
    for path, value in tree.flatten(from_torch(KEYMAP, expected)).items():
        np.testing.assert_allclose(flat[path], value, rtol=1e-3, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("name, parameters", [("2b", 2_204_564_032), ("8b", 8_375_791_824)])
def test_parameter_counts_are_the_published_ones(name, parameters):
    config = PRESETS[name].varedit
    shapes = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    assert tree.count(shapes) == parameters


def test_fresh_parameters_follow_the_release():
    config = dataclasses.replace(TINY, width=64, mlp_hidden=64, text_width=64, depth=8)
    params = tree.flatten(init_params(config, jax.random.key(0)))
    std = (1 / (3 * 64)) ** 0.5

    def deviation(path):
        return pytest.approx(float(params[path].std()), rel=0.1)

    assert std == deviation("blocks/attn/qkv/kernel")
    assert std / 4 == deviation("blocks/mlp/down/kernel")  # 1 / sqrt(2 * 8 layers)
    assert std * 0.02 == deviation("head/kernel")
    assert 1e-3 * 64**-0.5 == pytest.approx(float(params["blocks/ada_bias"][:, 2:].std()), rel=0.1)
    assert 5e-6 * 64**-0.5 == pytest.approx(float(params["blocks/ada_bias"][:, :2].std()), rel=0.2)
    assert abs(params["text/uncond"]).max() <= 2 / 8
    np.testing.assert_allclose(params["blocks/attn/scale"], np.log(4), rtol=1e-6)
    assert not params["blocks/attn/q_bias"].any()


def inputs_of(config: VAREditConfig, rows: int = 2, *, source_tokens: int = Ls):
    """Random text, mask, drop, source and inputs."""
    keys = jax.random.split(jax.random.key(7), 3)
    text = jax.random.normal(keys[0], (rows, 5, config.text_width))
    mask = jnp.arange(5)[None] < jnp.array([3, 5] * (rows // 2))[:, None]
    source = jax.random.normal(keys[1], (rows, source_tokens, config.token_bits))
    inputs = jax.random.normal(keys[2], (rows, Lt - 1, config.token_bits))
    return text, mask, jnp.zeros(rows, bool), source, inputs


def random_params(config: VAREditConfig, seed: int = 0):
    """Parameters that are large enough for every part to matter."""
    shapes = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return structure.unflatten(
        0.3 * jax.random.normal(key, s.shape) for key, s in zip(keys, leaves, strict=True)
    )


@pytest.mark.parametrize("conditioning", ["sar", "finest", "full"])
def test_a_scale_depends_on_source_and_earlier_scales_only(conditioning):
    config = dataclasses.replace(TINY, conditioning=conditioning)
    n_source = Lt if conditioning == "full" else Ls
    text, mask, drop, source, inputs = inputs_of(config, source_tokens=n_source)
    params = random_params(config)
    run = functools.partial(forward(config), params)
    base = run(text, mask, drop, source, inputs)
    later = run(text, mask, drop, source, inputs.at[:, 4:].add(1.0))  # scale 3 only
    np.testing.assert_array_equal(base[:, :5], later[:, :5])
    assert (abs(base - later)[:, 5:] > 1e-6).all(-1).any()
    moved = run(text, mask, drop, source.at[0, -1].add(1.0), inputs)
    assert (abs(base - moved)[0] > 1e-6).any(-1).any(-1).all()  # every token sees the source
    np.testing.assert_array_equal(base[1], moved[1])
    padded = run(text.at[0, 3:].set(50.0), mask, drop, source, inputs)
    np.testing.assert_allclose(base, padded, atol=1e-5)


def test_remat_and_unroll_change_no_gradient():
    arguments, params = inputs_of(TINY), random_params(TINY)

    def gradient(**options):
        model = VAREdit(TINY, **options)

        def loss(params):
            logits = model.apply(
                {"params": params}, *arguments, scales=TINY.scales, rope_scales=TINY.rope_scales
            )
            return (logits**2).mean()

        return jax.jit(jax.grad(loss))(params)

    whole = gradient()
    for options in ({"remat": "all", "unroll": 2}, {"remat": "cheap"}):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            *(whole, gradient(**options)),
        )


def test_padding_for_a_kernel_changes_nothing(monkeypatch):
    arguments, params = inputs_of(TINY), random_params(TINY)
    expected = forward(TINY)(params, *arguments)
    monkeypatch.setattr(varedit, "kernel_length", lambda length, width: length + 7)
    shapes = {"scales": TINY.scales, "rope_scales": TINY.rope_scales}
    got = VAREdit(TINY).apply({"params": params}, *arguments, **shapes)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_bf16_stays_near_f32():
    arguments, params = inputs_of(TINY), random_params(TINY)
    half = jax.jit(
        lambda p: VAREdit(TINY, dtype=jnp.bfloat16).apply(
            {"params": p}, *arguments, scales=TINY.scales, rope_scales=TINY.rope_scales
        )
    )(params)
    exact = forward(TINY)(params, *arguments)
    assert half.dtype == jnp.float32
    assert abs(half - exact).mean() < 0.05 * abs(exact).mean()


def test_stochastic_depth_acts_only_in_training():
    config = dataclasses.replace(TINY, drop_path=0.9)
    arguments, params = inputs_of(config), random_params(config)

    @jax.jit
    def train(key):
        return VAREdit(config).apply(
            {"params": params},
            *arguments,
            scales=config.scales,
            rope_scales=config.rope_scales,
            deterministic=False,
            rngs={"drop_path": key},
        )

    first, second = train(jax.random.key(0)), train(jax.random.key(1))
    assert (first != forward(config)(params, *arguments)).any() and (first != second).any()


def test_too_much_text_is_an_error():
    text, mask, drop, source, inputs = inputs_of(TINY)
    long = jnp.zeros((2, 7, 8)), jnp.ones((2, 7), bool)
    with pytest.raises(ValueError, match="7 text tokens: expected at most 6"):
        forward(TINY)(random_params(TINY), *long, drop, source, inputs)


def test_a_mesh_changes_no_logits():
    arguments, params = inputs_of(TINY, rows=4), random_params(TINY)
    expected = forward(TINY)(params, *arguments)
    axes = ("data", "fsdp", "tensor")
    mesh = jax.make_mesh((2, 2, 2), axes, axis_types=(jax.sharding.AxisType.Auto,) * 3)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(params, state_shardings(params, mesh))
        got = forward(TINY)(sharded, *arguments)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("conditioning", ["sar", "finest", "full"])
def test_measuring_attention_changes_no_logit(conditioning):
    config = dataclasses.replace(TINY, conditioning=conditioning)
    grids = (*config.source_scales(config.scales), *config.scales)
    source_tokens = Lt if conditioning == "full" else Ls
    arguments, params = inputs_of(config, source_tokens=source_tokens), random_params(config)

    @jax.jit
    def measured(params):
        shapes = {"scales": config.scales, "rope_scales": config.rope_scales}
        model = VAREdit(config)
        return model.apply(
            {"params": params}, *arguments, **shapes, measure=True, mutable=["intermediates"]
        )

    logits, kept = measured(params)
    np.testing.assert_allclose(logits, forward(config)(params, *arguments), rtol=1e-5, atol=1e-5)
    (scores,) = kept["intermediates"]["attention_scores"]
    assert scores.shape == (config.depth, 2, len(grids), len(grids))
    np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(scores, jnp.tril(scores))
    assert (abs(scores[0] - scores[1]) > 1e-3).any() and (scores[..., -1, :] > 0).all()
