import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import EditARConfig, PretrainedConfig, TokenSampleConfig
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.convert.keymaps.keymap_editar import KEYMAP
from jaxedit.models.editar import EditAR, Null, init_params
from jaxedit.sampling import sample_editar
from jaxedit.sampling.decode_weights import unstack
from jaxedit.sampling.sample_editar import NO_SOURCE, Networks


@pytest.mark.parametrize(
    "settings, rows",
    [
        ({}, (0, None)),
        ({"guidance": 1.0}, (0,)),
        ({"guidance": 0.5}, (0,)),
        ({"guidance": -2.0, "guidance_mode": "joint"}, (0,)),
        ({"guidance_mode": "joint"}, (0, None)),
        ({"guidance_mode": "dual", "guidance": 1.0}, (0, None, None)),
    ],
)
def test_rows_of_a_picture(settings, rows):
    assert sample_editar.text_rows(TokenSampleConfig(**settings)) == rows


def draw_tokens(config: EditARConfig, params, text, mask, **settings) -> np.ndarray:
    """Tokens i32[B,N] of pictures that are drawn from text or class, without an image tokenizer."""
    networks = Networks(None, unstack(config, params["transformer"], params["null"], "float32"))
    return sample_editar.edit(
        networks,
        NO_SOURCE,
        text,
        mask,
        jnp.arange(len(text), dtype=jnp.int32),
        sample=TokenSampleConfig(**settings),
        config=PretrainedConfig(model_type="editar", editar=config),
        segment=config.image_tokens // 2,
    )


@pytest.mark.parametrize("name", ["llamagen_gpt_tiny", "llamagen_gpt_gqa"])
def test_pictures_from_texts_match_the_release(golden, name):
    """From features that are padded on the right, as the text encoder leaves them."""
    arrays, description = golden(name)
    c = description["config"]
    config = EditARConfig(
        layers=c["n_layer"],
        width=c["dim"],
        heads=c["n_head"],
        kv_heads=c.get("n_kv_head") or 0,
        mlp_hidden=c["ffn_hidden"],
        codes=c["vocab_size"],
        grid=int(c["block_size"] ** 0.5),
        prefix="text",
        text_tokens=c["cls_token_num"],
        text_width=c["caption_dim"],
        distill_width=0,
    )
    state = {key[7:]: np.float32(x) for key, x in arrays.items() if key.startswith("params/")}
    params = jax.tree.map(jnp.asarray, from_torch(KEYMAP, state))
    text = jnp.asarray(arrays["in/text_features_right_padded"])[:, None]
    mask = jnp.asarray(arrays["in/text_mask_right_padded"] > 0)[:, None]
    draw = functools.partial(draw_tokens, config, params, text, mask, greedy=True, top_k=1)
    guided = {"guidance": c["cfg_scale"]}
    np.testing.assert_array_equal(draw(**guided), arrays["out/greedy_cfg_tokens"])
    until = draw(**guided, guidance_until=c["cfg_interval"])
    np.testing.assert_array_equal(until, arrays["out/greedy_cfg_interval_tokens"])
    np.testing.assert_array_equal(draw(guidance=1.0), arrays["out/greedy_nocfg_tokens"])
    at_once = draw(**guided, decode="windows", window=4)
    np.testing.assert_array_equal(at_once, arrays["out/greedy_cfg_tokens"])


def test_pictures_of_classes_are_the_likeliest_after_guidance():
    """Against the whole sequence at once, with the class and with the one that stands for none."""
    config = EditARConfig(
        layers=2, width=32, heads=4, mlp_hidden=64, codes=20, grid=2, prefix="class", classes=5,
        distill_width=0, text_tokens=1,
    )  # fmt: skip
    shapes = jax.eval_shape(functools.partial(init_params, config), jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    params = structure.unflatten([0.3 * jax.random.normal(key, x.shape) for x, key in pairs])
    classes = jnp.array([[3], [0]], jnp.int32)
    options = {"guidance": 2.0, "greedy": True, "top_k": 1}
    draw = functools.partial(
        draw_tokens, config, {"transformer": params, "null": {}}, classes, None
    )
    tokens = draw(**options)
    np.testing.assert_array_equal(tokens, draw(**options, decode="windows", window=2))

    def logits(condition: jax.Array) -> jax.Array:
        model = EditAR(config)
        return model.apply({"params": params}, condition, tokens, null=Null()).logits

    with_class, without = logits(classes[:, 0]), logits(jnp.array([5, 5]))
    np.testing.assert_array_equal(tokens, jnp.argmax(2 * with_class - without, axis=-1))
