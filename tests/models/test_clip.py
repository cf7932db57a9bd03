import dataclasses
import functools
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxedit import rng, tree
from jaxedit.config import CLIPConfig, ConfigError, TowerConfig
from jaxedit.convert.keymaps.keymap import from_torch, to_torch
from jaxedit.convert.keymaps.keymap_clip import KEYMAP
from jaxedit.models.clip import CLIP, end_of_text, init_params

TINY = CLIPConfig(
    image=TowerConfig(layers=2, width=16, heads=2, mlp_hidden=24),
    text=TowerConfig(layers=2, width=16, heads=2, mlp_hidden=24),
    patch=4,
    grid=2,
    vocab_size=20,
    max_text_tokens=8,
    projection_width=6,
)
B32 = CLIPConfig(
    image=TowerConfig(layers=12, width=768, heads=12, mlp_hidden=3072),
    text=TowerConfig(layers=12, width=512, heads=8, mlp_hidden=2048),
    patch=32,
    grid=7,
    projection_width=512,
)
# Of the pixels that CLIP was trained on.
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
IDS = jnp.asarray([[18, 3, 4, 19, 0, 0], [18, 5, 19, 0, 0, 0]])


def tower(c):
    return TowerConfig(
        layers=c["num_hidden_layers"],
        width=c["hidden_size"],
        heads=c["num_attention_heads"],
        mlp_hidden=c["intermediate_size"],
        activation=c["hidden_act"],
        norm_eps=c["layer_norm_eps"],
    )


@pytest.fixture(scope="module")
def params():
    shapes = jax.eval_shape(lambda: init_params(TINY, rng.key_for(0, "init")))
    dice = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.2 * dice.standard_normal(leaf.shape, np.float32), shapes)


@pytest.fixture(scope="module")
def fit(params):
    """How well a picture fits texts: the ids (and mask) to f32[texts]."""
    apply, pixels = jax.jit(CLIP(TINY).apply), np.ones((1, 8, 8, 3), np.float32)

    def logits(ids, mask=None):
        return apply({"params": params}, pixels, ids, ids >= 0 if mask is None else mask)[0]

    return logits


@pytest.mark.parametrize("name", ["clip_tiny", "clip_eos_explicit_gelu"])
def test_release_outputs(golden, name):
    arrays, description = golden(name)
    text, vision = (description["config"][f"{part}_config"] for part in ("text", "vision"))
    config = CLIPConfig(
        image=tower(vision),
        text=tower(text),
        patch=vision["patch_size"],
        grid=vision["image_size"] // vision["patch_size"],
        vocab_size=text["vocab_size"],
        max_text_tokens=text["max_position_embeddings"],
        eos_id=text["eos_token_id"],
        projection_width=description["config"]["projection_dim"],
    )
    config.validate()
    state = {k[7:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("params/")}
    state["logit_scale"] = state["logit_scale"].reshape(())
    params = from_torch(KEYMAP, state)

    mask = arrays["in/attention_mask"].astype(bool)
    parts = ("image", "text", "image_proj", "text_proj")
    run = functools.partial(
        CLIP(config).apply, capture_intermediates=lambda module, _: module.name in parts
    )
    logits, found = jax.jit(run)(
        {"params": params},
        arrays["in/pixels"].transpose(0, 2, 3, 1),
        arrays["in/input_ids"],
        mask,
    )
    found = {part: calls["__call__"][0] for part, calls in found["intermediates"].items()}
    tolerance = description["tolerance"]
    for part, name in (("image", "vision"), ("text", "text")):
        for value, kind in zip(found[part], ("last_hidden", "pooled"), strict=True):
            np.testing.assert_allclose(
                value, arrays[f"out/{name}_{kind}"], atol=tolerance["hidden"], err_msg=kind
            )
        features = np.asarray(found[f"{part}_proj"])
        raw, unit = arrays[f"out/{part}_features_unnormalised"], arrays[f"out/{part}_embeds"]
        np.testing.assert_allclose(features, raw, atol=tolerance["hidden"])
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
        np.testing.assert_allclose(features, unit, atol=tolerance["embeds"])
    np.testing.assert_allclose(logits, arrays["out/logits_per_image"], atol=tolerance["logits"])


def test_the_end_of_a_text(golden):
    _, bpe = golden("metrics_clip_bpe")
    ids = np.asarray(bpe["ids"])
    np.testing.assert_array_equal(end_of_text(ids, 2), [15, 10, 1, 12, 76])
    np.testing.assert_array_equal(end_of_text(ids, 49407), [15, 10, 1, 12, 76])
    ids = np.asarray([[9, 5, 5, 7, 0]])  # the first of the named id, whatever is larger
    assert end_of_text(ids, 5) == 1 and end_of_text(ids, 2) == 0


def test_what_follows_the_end_changes_nothing(fit):
    np.testing.assert_allclose(fit(IDS.at[:, 4:].set(7)), fit(IDS), atol=1e-5)
    assert np.abs(fit(IDS.at[:, 1].set(7)) - fit(IDS)).max() > 1e-3


def test_masked_tokens_are_not_seen(fit):
    mask = jnp.ones(IDS.shape, bool).at[:, 1].set(False)
    np.testing.assert_allclose(fit(IDS.at[:, 1].set(7), mask), fit(IDS, mask), atol=1e-5)


def test_bfloat16_stays_close_to_float32(params, fit):
    pixels = jnp.ones((1, 8, 8, 3))
    rounded = jax.jit(CLIP(TINY, jnp.bfloat16).apply)({"params": params}, pixels, IDS, IDS >= 0)
    assert rounded.dtype == jnp.float32 and rounded.shape == (1, 2)
    np.testing.assert_allclose(rounded[0], fit(IDS), atol=0.05)


@pytest.mark.parametrize(
    "config, count",
    [
        (CLIPConfig(), 427_616_513),
        (B32, 151_277_313),
    ],
)
def test_published_sizes(config, count):
    shapes = jax.eval_shape(lambda: init_params(config, rng.key_for(0, "init")))
    assert tree.count(shapes) == count


def seeded(path, shape):
    """The weights of the golden full-size model: normal numbers from a hash of the key."""
    numbers = np.random.RandomState(zlib.crc32(path.encode()))
    numbers = numbers.standard_normal(shape).astype(np.float32)
    if "norm" in path and path.endswith("weight"):
        return 1 + 0.2 * numbers
    if len(shape) < 2 or "embedding" in path:
        return 0.1 * numbers
    return numbers / np.float32(math.sqrt(math.prod(shape[1:])))


@pytest.mark.slow
def test_release_outputs_at_full_size(golden):
    arrays, description = golden("metrics_clip_b32_seeded")
    shapes = tree.flatten(jax.eval_shape(lambda: init_params(B32, rng.key_for(0, "init"))))
    blank = {path: np.broadcast_to(np.float32(0), leaf.shape) for path, leaf in shapes.items()}
    shapes = {key: view.shape for key, view in to_torch(KEYMAP, blank).items()}
    params = from_torch(KEYMAP, {key: seeded(key, shape) for key, shape in shapes.items()})

    @functools.partial(jax.jit, static_argnames="method")
    def unit(params, *args, method):
        features = CLIP(B32).apply({"params": params}, *args, method=method)[0]
        return features, features / jnp.linalg.norm(features)

    params = jax.tree.map(jnp.asarray, params)
    large = Image.fromarray(arrays["image_small"].repeat(4, axis=0).repeat(4, axis=1))
    large = large.resize((298, 224), Image.Resampling.BICUBIC).crop((37, 0, 261, 224))
    pixels = (np.asarray(large) / 255 - MEAN) / DEVIATION
    found = {"image": unit(params, pixels[None].astype(np.float32), method="encode_image")}
    for name in "ab":
        ids = jnp.asarray(arrays[f"ids_{name}"])[None]
        found[f"text_{name}"] = unit(params, ids, ids >= 0, method="encode_text")
    for name, (features, _) in found.items():
        key = "image_features" if name == "image" else name.replace("text", "text_features")
        np.testing.assert_allclose(features, arrays[key], atol=1e-3)
    for a, b in (("image", "text_a"), ("image", "text_b"), ("text_a", "text_b")):
        expected = description[f"cos_{a}_{b}".replace("text_a_text_b", "text_a_b")]
        np.testing.assert_allclose(found[a][1] @ found[b][1], expected, atol=1e-5)


def test_pictures_and_texts_of_another_size():
    def run(pixels, ids):
        return jax.eval_shape(CLIP(TINY).init, rng.key_for(0, "init"), pixels, ids, ids == 0)

    with pytest.raises(ValueError, match="image 8x12: expected 8x8 pixels"):
        run(jnp.zeros((1, 8, 12, 3)), IDS)
    with pytest.raises(ValueError, match="text of 9 tokens: expected at most 8"):
        run(jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 9), jnp.int32))


def test_sizes_that_cannot_work():
    def replaced(**changes):
        return dataclasses.replace(TINY, text=dataclasses.replace(TINY.text, **changes))

    with pytest.raises(ConfigError, match="clip.text.width=16: expected a multiple of .*heads=3"):
        replaced(heads=3).validate()
    with pytest.raises(ConfigError, match="clip.text.activation='relu': expected quick_gelu or"):
        replaced(activation="relu").validate()
    with pytest.raises(ConfigError, match="clip.patch=0: expected a positive whole number"):
        dataclasses.replace(TINY, patch=0).validate()
