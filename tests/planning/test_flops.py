import dataclasses

import jax
import jax.numpy as jnp
import pytest

from jaxedit.config import (
    EDITAR_PRESETS,
    PRESETS,
    BSQConfig,
    EditARConfig,
    T5Config,
    VAREditConfig,
    ViTConfig,
    VQConfig,
)
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.discriminator import Discriminator
from jaxedit.models.lpips import VGG16
from jaxedit.models.t5 import T5Encoder
from jaxedit.models.vit import ViT
from jaxedit.models.vq import VQTokenizer
from jaxedit.planning import flops
from jaxedit.planning.flops import Forward


def cost_of(program):
    """What XLA counts in a lowered or compiled program; a loop's body once."""
    found = program.cost_analysis()
    found = found[0] if isinstance(found, list) else found
    if not found or "flops" not in found:
        pytest.skip("this jax counts no operations")
    return found["flops"]


def cost(module, *shapes, **options):
    """XLA's count of a forward pass on arrays of these shapes (or on such arrays)."""
    arrays = [x if hasattr(x, "dtype") else jax.ShapeDtypeStruct(x, jnp.float32) for x in shapes]
    key = jax.eval_shape(lambda: jax.random.key(0))
    init = {"method": None} if "method" in options else {}
    is_decoder = options.get("method", "").startswith("decode")
    first = [jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)] if is_decoder else arrays
    params = jax.eval_shape(lambda key, *x: module.init(key, *x, **init), key, *first)
    apply = jax.jit(lambda params, *x: module.apply(params, *x, **options))
    return cost_of(apply.lower(params, *arrays))


# XLA also counts what works element by element, and in convolutions no padding.
def test_tokenizers_as_xla_counts_them():
    c = BSQConfig(bits=8, stride=4, base_channels=32, channel_mult=(1, 2, 2, 4), res_blocks=2)
    module, picture = BSQTokenizer(c), (1, 64, 64, 3)
    found = flops.image_encoder(c, 64)
    assert sum(found) == pytest.approx(cost(module, picture, method="encode"), rel=0.05)
    found = flops.image_decoder(c, 64)
    assert sum(found) == pytest.approx(cost(module, (1, 16, 16, 8), method="decode"), rel=0.05)
    c = VQConfig(codes=64, base_channels=32, channel_mult=(1, 2, 4), latent_width=32)
    module = VQTokenizer(c)
    found = flops.image_encoder(c, 64)
    assert sum(found) == pytest.approx(cost(module, picture, method="codes"), rel=0.05)
    found = flops.image_decoder(c, 64)
    latent = (1, 16, 16, 8)
    assert sum(found) == pytest.approx(cost(module, latent, method="decode_latent"), rel=0.05)
    found = flops.vgg16(256)
    assert sum(found) == pytest.approx(cost(VGG16(), (1, 256, 256, 3)), rel=0.05)
    found = flops.discriminator(32, 256)
    assert sum(found) == pytest.approx(cost(Discriminator(32), (1, 256, 256, 3)), rel=0.05)


def test_encoders_as_xla_counts_them():
    text = T5Config(vocab_size=64, width=128, head_width=32, mlp_hidden=256, layers=1, heads=6)
    ids = jax.ShapeDtypeStruct((1, 24), jnp.int32)
    mask = jax.ShapeDtypeStruct((1, 24), jnp.bool_)
    assert sum(flops.t5(text, 24)) == pytest.approx(cost(T5Encoder(text), ids, mask), rel=0.03)
    view = ViTConfig(layers=1, width=384, heads=4, mlp_hidden=1536, patch=8, grid=6)
    assert sum(flops.vit(view, 6)) == pytest.approx(cost(ViT(view), (1, 48, 48, 3)), rel=0.05)


def test_published_counts():
    """PyTorch's FlopCounter on the released networks, TFLOP a picture of 512 px."""
    vq, bsq, t5 = VQConfig(), BSQConfig(), T5Config()
    for found, published in (
        (flops.image_encoder(vq, 512), 0.558),
        (flops.image_decoder(vq, 512), 1.017),
        (flops.image_encoder(bsq, 512), 1.04),
        (flops.image_decoder(bsq, 512), 2.46),
        (flops.image_encoder(PRESETS["8b"].bsq, 1024), 4.30),
        (flops.image_decoder(PRESETS["8b"].bsq, 1024), 9.89),
        (flops.t5(t5, 120), 0.28),
        (flops.t5(t5, 512), 1.24),
    ):
        assert sum(found) / 1e12 == pytest.approx(published, rel=5e-3)


def test_large_transformers():
    """3 x (2 x weights x tokens + 4 x L x C x attended pairs), from the parameter counts."""
    for found, tflop in (
        (flops.editar(EDITAR_PRESETS["xl"].editar), 10.9),
        (flops.varedit(PRESETS["2b"].varedit, 120), 46.1),
        (flops.varedit(PRESETS["8b"].varedit, 120), 166.5),
    ):
        assert 3 * sum(found) / 1e12 == pytest.approx(tflop, rel=0.01)


def test_text_encoder_by_hand():
    c = T5Config(width=2, heads=1, head_width=3, mlp_hidden=5, layers=1)
    assert flops.t5(c, 7) == Forward(2 * 7 * (4 * 6 + 3 * 10), 4 * 49 * 3)
    assert flops.t5(dataclasses.replace(c, layers=6), 7) == Forward(6 * 756, 6 * 588)


def test_editar_by_hand():
    c = EditARConfig(*(), layers=1, width=4, heads=1, mlp_hidden=6, codes=5, grid=2, prefix="text")
    c = dataclasses.replace(c, text_tokens=3, text_width=2)
    # 3 of the text and 3 of the picture: qkv, proj, gated MLP; text; head; 21 pairs
    weights = 6 * (48 + 16 + 72) + 3 * (8 + 16) + 4 * 20
    assert flops.editar(c) == Forward(2 * weights, 4 * 4 * 21)
    edit = dataclasses.replace(c, prefix="edit")  # 4 more of the source
    more = flops.editar(edit).weights - flops.editar(c).weights
    assert more == 2 * 4 * (48 + 16 + 72) and flops.editar(edit).scores == 4 * 4 * 55
    one = dataclasses.replace(c, prefix="class", classes=9)
    assert flops.editar(one) == Forward(2 * (4 * (48 + 16 + 72) + 80), 4 * 4 * 10)
    shared = dataclasses.replace(edit, width=8, heads=2, kv_heads=1)
    assert flops.editar(shared).scores == 4 * 8 * 55


@pytest.mark.parametrize(
    ("conditioning", "tokens", "pairs"),
    [
        ("finest", 9, 2 * (16 + 1 * 5 + 4 * 9)),
        # block 0: the source, references of 1 and 4, the target alone
        ("sar", 9, (16 + 5 + 36) + (16 + 1 + 16 + 1 + 20)),
        ("full", 10, 2 * (1 + 20 + 6 + 40)),
    ],
)
def test_varedit_by_hand(conditioning, tokens, pairs):
    c = VAREditConfig(depth=2, width=4, heads=1, mlp_hidden=8, bits=3, text_width=2)
    c = dataclasses.replace(c, scales=((1, 1), (2, 2)), conditioning=conditioning)
    block = tokens * (64 + 32 + 64) + 5 * 32  # attention, cross-attention, MLP; keys and values
    text, modulation = 5 * (16 + 8 + 16) + 16, 4 * 24 + 4 * 8
    ends = (tokens - 1) * 3 * 4 + 5 * 4 * 6
    cross = 5 * (2 * tokens + 1)
    assert flops.varedit(c, text_tokens=5) == Forward(
        2 * (2 * block + text + modulation + ends), 4 * 4 * (pairs + cross)
    )


def test_tokenizer_by_hand():
    c = BSQConfig(bits=3, stride=1, base_channels=4, channel_mult=(1,), res_blocks=1)
    conv = 2 * 2 * 2 * 9  # of one channel to one, on 2 x 2 positions
    assert flops.image_encoder(c, 2) == Forward(conv * (3 * 4 + 3 * 2 * 16 + 4 * 3))
    assert flops.image_decoder(c, 2) == Forward(conv * (3 * 4 + 4 * 2 * 16 + 4 * 3))
    # with the level's attention and the middle's, two of each in the decoder
    c = VQConfig(codes=7, code_width=2, base_channels=4, channel_mult=(1,), res_blocks=1)
    found, plain = flops.image_encoder(c, 2), 3 * 2 * 16
    ends = conv * (3 * 4 + 4 * 256 + plain) + 2 * 4 * 2 * (256 + 7)
    assert found == Forward(ends + 2 * (2 * 4 * 4 * 16), 2 * (4 * 16 * 4))
