import jax
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.config import PretrainedConfig, ViTConfig
from jaxedit.convert.keymap_vit import KEYMAP
from jaxedit.convert.keymaps import from_torch
from jaxedit.convert.pretrained import load_pretrained, save_pretrained
from jaxedit.models.vit import init_params
from jaxedit.parallel.sharding import axes_of

CONFIG = ViTConfig(layers=2, width=48, heads=4, mlp_hidden=192, patch=14, grid=5)


@pytest.fixture
def state(golden):
    arrays, _ = golden("dinov2_tiny")
    return {k[7:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("params/")}


def shapes(params):
    return {path: leaf.shape for path, leaf in tree.flatten(params).items()}


def test_keys_of_the_hub_fill_the_model(state):
    assert "embeddings.mask_token" in state
    params = from_torch(KEYMAP, state)
    expected = jax.eval_shape(lambda: init_params(CONFIG, rng.key_for(0, "init")))
    assert shapes(params) == shapes(expected)
    query = state["encoder.layer.1.attention.attention.query.weight"]
    np.testing.assert_array_equal(params["blocks"]["attn"]["q"]["kernel"][1], query.T)
    kernel = state["embeddings.patch_embeddings.projection.weight"]
    assert params["patch"]["kernel"][3, 5, 2, 7] == kernel[7, 2, 3, 5]


def test_names_in_memory_mean_the_same(state):
    renamed = {}
    for key, array in state.items():
        for old, new in (("query", "q"), ("key", "k"), ("value", "v")):
            key = key.replace(f"attention.attention.{old}.", f"attention.{new}_proj.")
        renamed[key.replace("attention.output.dense", "attention.o_proj")] = array
    assert renamed.keys() != state.keys()
    jax.tree.map(
        np.testing.assert_array_equal, from_torch(KEYMAP, renamed), from_torch(KEYMAP, state)
    )


def test_names_of_dino(state):
    names = {
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "encoder.layer": "blocks",
        "attention.output.dense": "attn.proj",
        "layernorm": "norm",
    }
    dino, parts = {}, {}
    for key, array in state.items():
        if "mask_token" in key or "layer_scale" in key:
            continue
        for old, new in names.items():
            key = key.replace(old, new)
        dino[key] = array
    for key in [k for k in dino if "attention.attention" in k]:
        start, _, name, end = key.rsplit(".", 3)
        parts[start.replace("attention", "attn"), name, end] = dino.pop(key)
    for start, _, end in list(parts):
        fused = [parts[start, name, end] for name in ("query", "key", "value")]
        dino[f"{start}.qkv.{end}"] = np.concatenate(fused)
    expected = from_torch(KEYMAP, state)
    for part in ("attn", "mlp"):
        del expected["blocks"][part]["scale"]
    jax.tree.map(np.testing.assert_array_equal, from_torch(KEYMAP, dino), expected)


def test_foreign_keys_are_errors():
    with pytest.raises(ValueError, match="unexpected keys: encoder.layer.0.mlp.weights_in.weight"):
        from_torch(KEYMAP, {"encoder.layer.0.mlp.weights_in.weight": np.zeros((2, 2))})


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
    assert named["vit/blocks/mlp/down/kernel"] == ("mlp", "embed")
    assert named["vit/blocks/attn/scale"] == named["vit/positions"] == ()
