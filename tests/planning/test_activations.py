import dataclasses

import jax
import jax.numpy as jnp
import pytest

from jaxedit.config import EDITAR_PRESETS, PRESETS, BSQConfig, EditARConfig, T5Config, VQConfig
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.planning import activations

GB = 1e9


def test_tokenizers_by_hand():
    picture = 512 * 512 * 4  # a channel, bytes
    # 128 channels: what a convolution of the finest level reads, its norm, its result
    assert activations.image_encoder(BSQConfig(), 512) == 3 * 128 * picture
    # 256 channels, repeated to the full size, their norm, and 128
    assert activations.image_decoder(BSQConfig(), 512) == (2 * 256 + 128) * picture
    assert activations.image_decoder(VQConfig(), 512) == 3 * 128 * picture
    many = VQConfig(codes=2**22, base_channels=32)
    assert activations.image_encoder(many, 16) == 2**22 * 4  # one position, all codes


def test_text_encoder_by_hand():
    c = T5Config(width=2, heads=1, head_width=4, mlp_hidden=5, layers=9)
    # stream f32 twice, bias f32; logits and exponentials f32, weights, q, k, v in bfloat16
    assert activations.t5(c, 10, 2) == 2 * 10 * 2 * 4 + 100 * 4 + 100 * 10 + 3 * 10 * 4 * 2
    kept = 10 * (6 * 4 * 2 + 2 * (4 * 4 + 2 * 2 + 4 * 5)) + 100 * 6
    assert activations.t5_training(c, 10, 2) == 9 * kept


def test_blocks_by_hand():
    c = EditARConfig(layers=2, width=4, heads=2, mlp_hidden=8)
    # the MLP is larger than attention; one eighth of the queries at a time
    assert activations.editar_block(c, 16, 16, 4) == 16 * (48 + 96) + 2 * 2 * 16 * 12
    c = dataclasses.replace(PRESETS["2b"].varedit, width=4, heads=2, mlp_hidden=8)
    assert activations.varedit_block(c, 10, 30, 2) == 10 * (32 + 8 + 40 + 32) + 2 * 300 * 10
    most = activations.varedit_block(c, 4096, 10**6, 2) - activations.varedit_block(c, 4096, 0, 2)
    assert most == 2 * 2**19 * 10  # more scores are never in memory together


@pytest.mark.parametrize(
    ("found", "planned"),
    [
        (activations.t5(T5Config(), 512, 2), 0.139),
        (2 * activations.varedit_block(PRESETS["2b"].varedit, 1024, 1024, 2), 0.291),
        (activations.image_encoder(VQConfig(), 512), 0.465),
        (activations.image_decoder(VQConfig(), 512), 0.422),
    ],
)
def test_inference_beside_the_plans_of_libtpu(found, planned):
    """For one v5e, bfloat16, one picture, by libtpu 0.0.42."""
    assert found / GB == pytest.approx(planned, rel=0.15)


@pytest.mark.parametrize(
    ("remat", "varedit", "editar"), [("none", 27.2, 32.9), ("cheap", 10.9, 13.0)]
)
def test_training_beside_the_plans_of_xla(remat, varedit, editar):
    """MB a pair of the presets `tiny` in f32, by XLA:CPU of jax 0.10.2."""
    found = activations.varedit_training(PRESETS["tiny"].varedit, 16, 4, remat)
    assert found / 1e6 == pytest.approx(varedit, rel=0.3)
    found = activations.editar_training(EDITAR_PRESETS["tiny"].editar, 4, remat)
    assert found / 1e6 == pytest.approx(editar, rel=0.3)


def test_the_less_is_kept_the_less_is_needed():
    for config in PRESETS.values():
        needs = [
            activations.varedit_training(config.varedit, 16, 2, remat)
            for remat in ("all", "cheap", "none")
        ]
        assert needs == sorted(needs)
    for config in (PRESETS["2b"].bsq, EDITAR_PRESETS["xl"].vq):
        less, more = (
            activations.tokenizer_training(config, 64, 2, remat=remat) for remat in (True, False)
        )
        assert less < more < activations.tokenizer_training(config, 64, 4, remat=False)


def test_layers_are_what_is_kept():
    c = PRESETS["2b"].varedit
    one, two = (dataclasses.replace(c, depth=depth) for depth in (8, 16))
    for remat, width in (("all", 4 * c.width), ("cheap", (4 + 14) * c.width + 2 * c.mlp_hidden)):
        more = activations.varedit_training(two, 512, 2, remat)
        more -= activations.varedit_training(one, 512, 2, remat)
        assert more == 8 * 3545 * (4 * c.width if remat == "all" else width)


def test_losses_by_hand():
    features = 64**2 * 64 * 2 + 32**2 * 128 * 2 + 16**2 * 256 * 3 + 8**2 * 512 * 3 + 4**2 * 512 * 3
    assert activations.vgg16_training(64) == 2 * 4 * features
    made = 32**2 * 8 + 16**2 * 16 + 8**2 * 32
    assert activations.discriminator_training(8, 64) == 3 * 3 * 4 * made


def test_the_decoder_needs_what_xla_plans():
    """XLA:CPU copies around its convolutions, so that it plans up to twice as much."""
    c = BSQConfig(bits=4, stride=2, base_channels=32, channel_mult=(1, 2), res_blocks=1)
    module = BSQTokenizer(c)
    latent = jax.ShapeDtypeStruct((1, 64, 64, 4), jnp.float32)
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3))))
    decode = jax.jit(lambda params, z: module.apply(params, z, method="decode"))
    planned = decode.lower(params, latent).compile().memory_analysis().temp_size_in_bytes
    assert 0.9 < planned / activations.image_decoder(c, 128) < 2.5
