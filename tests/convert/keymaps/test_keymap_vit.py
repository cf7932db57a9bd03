import math
import re

import jax
import numpy as np
import pytest
from both_ways import assert_complete, assert_exact, made_shapes

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import load_pretrained, save_pretrained
from jaxedit.config import PretrainedConfig, ViTConfig
from jaxedit.convert.keymaps.keymap import assemble, from_torch
from jaxedit.convert.keymaps.keymap_vit import KEYMAP
from jaxedit.models.vit import init_params
from jaxedit.sharding.rules import axes_of

CONFIG = ViTConfig(layers=2, width=48, heads=4, mlp_hidden=192, patch=14, grid=5)
MASK = "embeddings.mask_token"
# The Hub's names of DINO, and its authors' names, for those of DINOv2 on the Hub.
HUB = {r"\.norm1": ".layernorm_before", r"\.norm2": ".layernorm_after"}
HUB |= {r"mlp\.fc1": "intermediate.dense", r"mlp\.fc2": "output.dense"}
AUTHORS = {
    r"embeddings\.(cls_token|mask_token)": r"\1",
    r"embeddings\.position_embeddings": "pos_embed",
    r"embeddings\.patch_embeddings\.projection": "patch_embed.proj",
    r"encoder\.layer": "blocks",
    r"attention\.output\.dense": "attn.proj",
    r"layer_scale(.)\.lambda1": r"ls\1.gamma",
    r"layernorm": "norm",
}
MEMORY = {r"attention\.output\.dense": "attention.o_proj"}
MEMORY |= {
    rf"attention\.attention\.{n}": f"attention.{n[0]}_proj" for n in ("query", "key", "value")
}


@pytest.fixture
def state(golden):
    arrays, _ = golden("dinov2_tiny")
    return {k[7:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("params/")}


def expected_shapes(config):
    return made_shapes(lambda: init_params(config, rng.key_for(0, "init")))


def renamed(state, names):
    """`state` with the first of `names` that occurs in a key replaced, all of them in turn."""
    result = {}
    for key, array in state.items():
        for old, new in names.items():
            key = re.sub(old, new, key)
        result[key] = array
    assert result.keys() != state.keys()
    return result


def fused(state):
    """Queries, keys and values as one map, as in the authors' files."""
    state = dict(state)
    for key in [key for key in state if "attention.query" in key]:
        parts = [state.pop(key.replace("query", name)) for name in ("query", "key", "value")]
        state[key.replace("attention.attention.query", "attn.qkv")] = np.concatenate(parts)
    return state


def test_keys_of_the_hub_are_complete_both_ways(state):
    shapes = {key: array.shape for key, array in state.items()}
    assert_complete(KEYMAP, shapes, expected_shapes(CONFIG), ignored={MASK})
    assert_exact(KEYMAP, expected_shapes(CONFIG))
    params = from_torch(KEYMAP, state)
    query = state["encoder.layer.1.attention.attention.query.weight"]
    np.testing.assert_array_equal(params["blocks"]["attn"]["q"]["kernel"][1], query.T)
    kernel = state["embeddings.patch_embeddings.projection.weight"]
    assert params["patch"]["kernel"][3, 5, 2, 7] == kernel[7, 2, 3, 5]


def test_published_sizes():
    base = {"layers": 12, "width": 768, "heads": 12, "mlp_hidden": 3072}
    dinov2 = expected_shapes(ViTConfig(**base, patch=14, grid=37))
    assert sum(map(math.prod, dinov2.values())) + 768 == 86_580_480  # with its mask token
    dino = ViTConfig(**base, patch=8, grid=28, layer_scale=False)
    assert sum(map(math.prod, expected_shapes(dino).values())) == 85_807_872


def test_other_names_mean_the_same(state):
    expected = from_torch(KEYMAP, state)
    for other in (
        renamed(state, MEMORY),
        renamed(state, HUB),
        renamed(fused(state), AUTHORS),
    ):
        jax.tree.map(np.testing.assert_array_equal, from_torch(KEYMAP, other), expected)


def test_queries_keys_and_values_are_read_apart(state):
    files = renamed(fused(state), AUTHORS)
    found = assemble(KEYMAP, files)["blocks/attn/v/bias"]
    np.testing.assert_array_equal(found[1], files["blocks.1.attn.qkv.bias"][96:])


def test_foreign_keys_are_errors():
    with pytest.raises(ValueError, match="unexpected keys: encoder.layer.0.mlp.weights_in.weight"):
        assemble(KEYMAP, {"encoder.layer.0.mlp.weights_in.weight": np.zeros((2, 2))})


def test_a_directory_of_it(state, tmp_path):
    params = {"vit": from_torch(KEYMAP, state)}
    config = PretrainedConfig(model_type="vit", vit=CONFIG)
    read, loaded, _ = load_pretrained(save_pretrained(tmp_path / "vit", config, params))
    assert read == config
    jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_every_parameter_has_a_sharding(state):
    paths = [f"vit/{path}" for path in tree.flatten(from_torch(KEYMAP, state))]
    named = {path: axes_of(path) for path in paths}
    assert named["vit/blocks/attn/q/kernel"] == ("embed", "heads")
    assert named["vit/blocks/mlp/down/kernel"] == ("rows", None)
    assert named["vit/positions"] == (None, "embed")
    assert named["vit/blocks/attn/scale"] == ()
