import jax
import jax.numpy as jnp
import pytest

from jaxedit.config import BSQConfig, VQConfig
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.vq import VQTokenizer
from jaxedit.planning.tokenizer_layers import Layer, decoder_layers, encoder_layers

CONFIGS = [
    BSQConfig(bits=6, stride=4, base_channels=24, channel_mult=(1, 2, 2, 4), res_blocks=2),
    BSQConfig(bits=6, stride=8, base_channels=24, channel_mult=(1, 1, 2, 4), res_blocks=1),
    VQConfig(codes=8, code_width=4, base_channels=24, channel_mult=(1, 2, 4), latent_width=48),
    VQConfig(codes=8, base_channels=24, channel_mult=(2, 2), res_blocks=3, latent_width=24),
]


def kernels_of(layer):
    """Sizes of a layer's kernels."""
    square = layer.kernel**2
    if layer.kind == "attention":
        return [layer.channels_in * layer.channels_out] * 4
    if layer.kind == "conv":
        return [square * layer.channels_in * layer.channels_out]
    skip = [layer.channels_in * layer.channels_out] * (layer.channels_in != layer.channels_out)
    return [square * layer.channels_in * layer.channels_out, square * layer.channels_out**2, *skip]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_layers_hold_all_kernels_of_the_network(config):
    module = BSQTokenizer if isinstance(config, BSQConfig) else VQTokenizer
    pixels = jnp.zeros((1, 64, 64, 3))
    params = jax.eval_shape(lambda: module(config).init(jax.random.key(0), pixels))
    kernels = [x.size for x in jax.tree.leaves(params) if len(x.shape) == 4]
    layers = [*encoder_layers(config, 64), *decoder_layers(config, 64)]
    assert sorted(kernels) == sorted(size for layer in layers for size in kernels_of(layer))


@pytest.mark.parametrize("config", CONFIGS)
def test_each_layer_reads_what_the_one_before_makes(config):
    for layers in (encoder_layers(config, 64), decoder_layers(config, 64)):
        for one, other in zip(layers, layers[1:], strict=False):
            assert one.channels_out == other.channels_in
            assert (
                one.side_out == other.side_in or 2 * one.side_out == other.side_in
            )  # after repetition
    assert encoder_layers(config, 64)[-1].side_out == 64 // config.stride
    assert decoder_layers(config, 64)[-1] == Layer("conv", 64, 64, 24 * config.channel_mult[0], 3)
