import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import tree
from jaxedit.checkpoints.pretrained import abstract_params, save_pretrained
from jaxedit.config import EDITAR_PRESETS, BSQConfig, ConfigError, PretrainedConfig
from jaxedit.train.initial_state import warm_start
from jaxedit.train.step import TrainState

CONFIG = PretrainedConfig(
    model_type="bsq",
    bsq=BSQConfig(bits=4, stride=2, base_channels=24, channel_mult=(1, 1), res_blocks=1),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A pretrained directory and the parameters in it."""
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: random.normal(size=x.shape).astype(np.float32), abstract_params(CONFIG)
    )
    return save_pretrained(tmp_path_factory.mktemp("warm") / "weights", CONFIG, params), params


def make_state(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return TrainState(step=jnp.int32(0), params=zeros, opt_state=(), ema_params=zeros)


def test_replaces_parameters_and_their_average_only(weights):
    directory, params = weights
    other = {"discriminator": {"conv": {"kernel": jnp.ones(3)}}}
    state = warm_start(make_state(params | other), str(directory))
    for found in (state.params, state.ema_params):
        jax.tree.map(np.testing.assert_array_equal, found["bsq"], params["bsq"])
        assert not found["discriminator"]["conv"]["kernel"].any()


def test_all_differences_are_listed(weights):
    directory, params = weights
    flat = tree.flatten(params)
    narrow, absent = "bsq/encoder/conv_out/kernel", "bsq/decoder/conv_in/bias"
    flat[narrow] = flat[narrow][..., :1]
    del flat[absent]
    with pytest.raises(ConfigError) as error:
        warm_start(make_state(tree.unflatten(flat)), str(directory))
    assert f"{narrow}: (3, 3, 24, 4) there, (3, 3, 24, 1) here" in str(error.value)
    assert f"{absent}: (24,) there, None here" in str(error.value)


def test_weights_that_are_not_there(weights):
    with pytest.raises(FileNotFoundError):
        warm_start(make_state(weights[1]), "nowhere")


def test_text_to_image_weights_have_no_head_for_a_teacher(tmp_path):
    config = copy.deepcopy(EDITAR_PRESETS["tiny"])
    sizes = {"layers": 1, "width": 8, "heads": 2, "mlp_hidden": 8, "grid": 2, "distill_width": 4}
    config.editar = dataclasses.replace(config.editar, **sizes)
    here = jax.tree.map(lambda x: np.ones(x.shape, np.float32), abstract_params(config))
    align = here["transformer"].pop("align")
    config.editar.distill_width = 0
    directory = str(save_pretrained(tmp_path / "t2i", config, here, "toy-tokenizer"))
    transformer = here["transformer"] | {"align": align}
    state = warm_start(make_state({"transformer": transformer}), directory)
    assert state.params["transformer"]["embed"].all()
    assert not state.params["transformer"]["align"]["kernel"].any()
