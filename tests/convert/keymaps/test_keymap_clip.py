import jax
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import load_pretrained, save_pretrained
from jaxedit.config import CLIPConfig, PretrainedConfig, TowerConfig
from jaxedit.convert.keymaps.keymap import from_torch, to_torch
from jaxedit.convert.keymaps.keymap_clip import KEYMAP
from jaxedit.models.clip import init_params
from jaxedit.sharding.rules import axes_of

CONFIG = CLIPConfig(
    image=TowerConfig(layers=3, width=48, heads=4, mlp_hidden=96),
    text=TowerConfig(layers=2, width=32, heads=4, mlp_hidden=64),
    patch=8,
    grid=4,
    vocab_size=99,
    max_text_tokens=16,
    projection_width=24,
)


@pytest.fixture
def state(golden):
    arrays, _ = golden("clip_tiny")
    state = {k[7:]: v.astype(np.float32) for k, v in arrays.items() if k.startswith("params/")}
    return state | {"logit_scale": state["logit_scale"].reshape(())}


@pytest.fixture(scope="module")
def expected():
    params = jax.eval_shape(lambda: init_params(CONFIG, rng.key_for(0, "init")))
    return {path: leaf.shape for path, leaf in tree.flatten(params).items()}


def test_keys_of_the_hub_fill_the_model_and_come_back(state, expected):
    old = state | {"text_model.embeddings.position_ids": np.arange(16)[None]}
    params = tree.flatten(from_torch(KEYMAP, old, expected))
    assert {path: leaf.shape for path, leaf in params.items()} == expected
    query = state["vision_model.encoder.layers.1.self_attn.q_proj.weight"]
    np.testing.assert_array_equal(params["image/blocks/attn/q/kernel"][1], query.T)
    kernel = state["vision_model.embeddings.patch_embedding.weight"]
    assert params["image/patch/kernel"][3, 5, 2, 7] == kernel[7, 2, 3, 5]
    back = to_torch(KEYMAP, params)
    assert back.keys() == state.keys()
    for key, array in back.items():
        np.testing.assert_array_equal(array[...], state[key], err_msg=key)


def test_a_directory_of_it(state, tmp_path):
    params = {"clip": from_torch(KEYMAP, state)}
    config = PretrainedConfig(model_type="clip", clip=CONFIG)
    read, loaded, _ = load_pretrained(save_pretrained(tmp_path / "clip", config, params))
    assert read == config
    jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_every_parameter_has_a_sharding(expected):
    named = {path: axes_of(f"clip/{path}") for path in expected}
    assert named["text/embed"] == ("rows", None)
    assert named["image/blocks/attn/q/kernel"] == ("embed", "heads")
    assert named["image_proj/kernel"] == ("embed", None)
    assert named["image/positions"] == named["text/positions"] == (None, "embed")
    assert named["logit_scale"] == ()


def test_missing_and_foreign_keys_are_errors(state, expected):
    del state["visual_projection.weight"]
    state["vision_model.head.probe"] = np.zeros((1, 1, 48))
    message = "missing.*: visual_projection.weight; unexpected.*: vision_model.head.probe"
    with pytest.raises(ValueError, match=message):
        from_torch(KEYMAP, state, expected)
