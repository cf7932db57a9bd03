import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.ops import quantize

CASES = [
    ("bsq_tokenizer_d32like", "img"),
    ("bsq_tokenizer_d32like", "q256"),
    ("bsq_tokenizer_patchify", "img"),
    ("bsq_tokenizer_patchify", "q256"),
]
SCALES = ((2, 2), (4, 2), (4, 6))


class Reference:
    """A stored case: raw features, schedule, and bits as tokens."""

    def __init__(self, golden, fixture: str, case: str):
        self.arrays, description = golden(fixture)
        self.case, self.about = case, description["cases"][case]
        self.patchify = bool(self.about["patchify"])
        self.scales = tuple((h, w) for _, h, w in self.about["vae_scale_schedule"])

    def __getitem__(self, name):
        return self.arrays[f"{self.case}.{name}"]

    def nhwc(self, name):
        return jnp.array(self[name].astype(np.float32).transpose(0, 2, 3, 1))

    def unpacked(self, name, k, d):
        """Return the bits of scale k as bool[1,h,w,d]."""
        h, w = self.scales[k]
        return jnp.array(np.unpackbits(self[f"{name}.{k}"])[: h * w * d].reshape(1, h, w, d), bool)

    def labels(self, raw, flip=None):
        encode = jax.jit(
            lambda raw, flip: quantize.encode_labels(
                raw, self.scales, patchify=self.patchify, flip=flip
            )
        )
        return encode(raw, flip)

    def tokens(self, grids):
        return jnp.concatenate([quantize.to_tokens(g, self.patchify) for g in grids], axis=1)


def raw_features(B=2, h=4, w=6, d=4):
    return jax.random.normal(rng.key_for(0, "test"), (B, h, w, d))


def test_bits_and_codes_by_hand():
    bits = quantize.bits_of(jnp.array([3.0, -0.1, 0.0, 1e-9]))
    np.testing.assert_array_equal(bits, [True, False, False, True])
    np.testing.assert_array_equal(quantize.codes_of(bits), [0.5, -0.5, -0.5, 0.5])


def test_straight_through_gradient_is_that_of_normalize():
    r, cotangent = raw_features(), raw_features()[::-1]
    codes, bits = quantize.quantize_ste(r)
    np.testing.assert_allclose(codes, quantize.codes_of(bits), atol=1e-7)
    through = jax.grad(lambda r: (quantize.quantize_ste(r)[0] * cotangent).sum())(r)
    direct = jax.grad(lambda r: (quantize.normalize(r) * cotangent).sum())(r)
    np.testing.assert_allclose(through, direct, atol=1e-6)
    at_zero = jax.grad(lambda r: quantize.quantize_ste(r)[0].sum())(jnp.zeros((1, 4)))
    assert jnp.isfinite(at_zero).all()


def test_patchify_order_by_hand(golden):
    x = jnp.arange(8).reshape(1, 2, 2, 2)  # channel 0: 0 2 / 4 6, channel 1: 1 3 / 5 7
    np.testing.assert_array_equal(quantize.patchify(x)[0, 0, 0], [0, 2, 4, 6, 1, 3, 5, 7])
    arrays, _ = golden("bsq_tokenizer_resize")
    image = jnp.asarray(arrays["in_12x12"].transpose(0, 2, 3, 1))
    unshuffled = jnp.asarray(arrays["pixel_unshuffle2.12x12"].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(quantize.patchify(image), unshuffled)
    np.testing.assert_array_equal(quantize.unpatchify(unshuffled), image)


@pytest.mark.parametrize("is_patchified", [False, True])
def test_tokens_and_grids_are_inverse(is_patchified):
    grid = raw_features()
    tokens = quantize.to_tokens(grid, is_patchified)
    assert tokens.shape == ((2, 6, 16) if is_patchified else (2, 24, 4))
    np.testing.assert_array_equal(quantize.to_grid(tokens, (4, 6), is_patchified), grid)


@pytest.mark.parametrize("fixture, case", CASES)
def test_labels_match_the_release(golden, fixture, case):
    ref = Reference(golden, fixture, case)
    K = len(ref.scales)
    labels = ref.labels(ref.nhwc("h"))
    bits = [jnp.array(ref[f"bits.{k}"][:, 0], bool) for k in range(K)]
    np.testing.assert_array_equal(labels.bits, ref.tokens(bits))
    inputs = np.concatenate([ref[f"next_in.{k}"] for k in range(1, K)], axis=1)
    np.testing.assert_allclose(labels.inputs, inputs, atol=1e-6)
    sequences = [quantize.to_tokens(b, ref.patchify) for b in bits]
    decode = jax.jit(lambda bits: quantize.bits_to_feature(bits, ref.scales, patchify=ref.patchify))
    np.testing.assert_allclose(decode(sequences), ref.nhwc("z"), atol=1e-6)


@pytest.mark.parametrize("fixture, case", CASES[1::2])
def test_self_correction_matches_the_release(golden, fixture, case):
    ref = Reference(golden, fixture, case)
    noisy, K = ref.about["bsc"]["layers"], len(ref.scales)
    flip = [jnp.array(ref[f"bsc.flip_mask.{k}"][:, 0], bool) for k in range(noisy)]
    flip += [None] * (K - noisy)
    raw = ref.nhwc("h")
    labels = ref.labels(raw, flip)
    bits = np.concatenate([ref[f"bsc.gt_labels.{k}"] for k in range(K)], axis=1)
    np.testing.assert_array_equal(labels.bits, bits.astype(bool))
    np.testing.assert_allclose(labels.inputs, ref["bsc.x_BLC_wo_prefix"], atol=1e-6)
    source = quantize.source_tokens(raw, patchify=ref.patchify)
    np.testing.assert_array_equal(source, ref["bsc.src_prefix"])


@pytest.mark.parametrize("case", ["d32", "d14p"])
def test_512_pixels_match_the_release(golden, case):
    ref = Reference(golden, "bsq_tokenizer_q512", case)
    raw = ref.nhwc("h_f16")
    d, K = raw.shape[-1], len(ref.scales)
    labels = ref.labels(raw)
    expected = ref.tokens([ref.unpacked("packed_bits", k, d) for k in range(K)])
    np.testing.assert_array_equal(labels.bits, expected)
    np.testing.assert_allclose(labels.inputs[:, -1024:], ref["next_in.9"], atol=1e-5)

    corrected = ref.labels(raw, [ref.unpacked("bsc.packed_flip_mask", k, d) for k in range(K)])
    packed = [np.unpackbits(ref[f"bsc.packed_gt_labels.{k}"]) for k in range(K)]
    Q = labels.bits.shape[-1]
    expected = np.concatenate([p[: len(p) // Q * Q].reshape(-1, Q) for p in packed])
    np.testing.assert_array_equal(corrected.bits[0], expected)
    np.testing.assert_allclose(corrected.inputs[:, -1024:], ref["bsc.x_BLC_last_scale"], atol=1e-5)


@pytest.mark.parametrize("is_patchified", [False, True])
def test_feature_is_the_last_running_feature(is_patchified):
    raw = raw_features()
    grids, features = quantize.encode_scales(raw, SCALES)
    tokens = [quantize.to_tokens(g, is_patchified) for g in grids]
    z = quantize.bits_to_feature(tokens, SCALES, patchify=is_patchified)
    np.testing.assert_allclose(z, features[-1], atol=1e-6)
    source = quantize.full_source_tokens(raw, SCALES, patchify=is_patchified)
    n = tokens[-1].shape[1]
    assert source.shape == (2, sum(t.shape[1] for t in tokens), tokens[0].shape[-1])
    np.testing.assert_allclose(source[:, -n:], quantize.to_tokens(z, is_patchified), atol=1e-6)


def test_flips_change_only_what_follows():
    raw = raw_features()
    clean = quantize.encode_labels(raw, SCALES, patchify=False)
    flip = [None, jnp.ones((2, 4, 2, 4), bool), jnp.ones((2, 4, 6, 4), bool)]
    noisy = quantize.encode_labels(raw, SCALES, patchify=False, flip=flip)
    np.testing.assert_array_equal(noisy.bits[:, :12], clean.bits[:, :12])
    np.testing.assert_array_equal(noisy.inputs[:, :8], clean.inputs[:, :8])
    assert (noisy.bits[:, 12:] != clean.bits[:, 12:]).any()


def test_flip_rates_are_multiples_of_a_hundredth_up_to_the_strength():
    rates = set()
    for step in range(60):
        flips = quantize.draw_flips(
            rng.key_for(0, "flip", step), 1, 8, ((32, 32),) * 2, strength=0.03, noise_scales=1
        )
        assert flips[0].shape == (1, 32, 32, 8) and flips[1] is None
        rates.add(round(100 * float(flips[0].mean())))
    assert rates == {0, 1, 2, 3}


def test_no_flips_without_strength():
    flips = quantize.draw_flips(rng.key_for(0, "flip"), 1, 8, SCALES, strength=0, noise_scales=9)
    assert flips == [None] * 3


def test_schedule_must_end_at_the_latent_grid():
    with pytest.raises(ValueError, match="ends at 4x6, expected 8x6"):
        quantize.encode_labels(raw_features(h=8), SCALES, patchify=False)
