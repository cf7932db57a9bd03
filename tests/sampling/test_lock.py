import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import TokenSampleConfig
from jaxedit.ops import quantize
from jaxedit.sampling.lock import BitLock, LockedTokens, cells_in, runs_of
from jaxedit.sampling.methods import TokenSampling, numbers_of

SCALES = ((1, 1), (2, 2), (3, 3), (4, 4))
D = 4


def test_cells_of_a_mask_by_hand():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 2, 5] = True  # row 2 of 8 is row 1 of 4, column 5 is column 2
    assert np.flatnonzero(cells_in(mask, (4, 4))).tolist() == [1 * 4 + 2]
    assert cells_in(mask, (1, 1)).tolist() == [[True]]
    # 3 rows of 8 pixels: 0-2, 2-5, 5-7; the shared row 2 and column 5 belong to two cells each
    assert np.flatnonzero(cells_in(mask, (3, 3))).tolist() == [1, 2, 4, 5]
    assert not cells_in(np.zeros((2, 8, 8), bool), (3, 3)).any()


def test_locked_tokens_are_the_sources_in_all_rows():
    method = TokenSampling(jnp.arange(2), numbers_of(TokenSampleConfig(guidance=1.0, top_k=9)))
    source = jnp.array([[1, 2, 3], [4, 5, 6]], jnp.int32)
    editable = jnp.array([[True, False, False], [False, True, False]])
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((2, 1, 9), np.float32))
    logits = jnp.repeat(logits, 2, axis=1)
    for position in range(3):
        positions = jnp.full(2, position)
        free, _ = method(logits, positions)
        tokens, _ = LockedTokens(method, source, editable)(logits, positions)
        for row in range(2):
            expected = free[row] if editable[row, position] else [source[row, position]] * 2
            np.testing.assert_array_equal(tokens[row], expected)


def decode(lock: BitLock, chosen: list[jax.Array]) -> tuple[list[jax.Array], jax.Array]:
    """The bits and the feature if `chosen` are the bits that a method would choose."""
    feature, kept = jnp.zeros_like(lock.source), []
    for k, size in enumerate(SCALES):
        bits = lock.keep(chosen[k][:, None], feature[:, None], None, k, size, False)[:, 0]
        kept.append(bits)
        feature = quantize.accumulate(feature, bits, size, SCALES[-1], False)
    return kept, feature


@pytest.fixture(scope="module")
def source():
    return jnp.asarray(np.random.default_rng(0).standard_normal((1, 4, 4, D), np.float32))


@pytest.fixture(scope="module")
def chosen():
    rng = np.random.default_rng(1)
    return [jnp.asarray(rng.random((1, h * w, D)) < 0.5) for h, w in SCALES]


def lock_of(source, mask):
    return BitLock(source, tuple(cells_in(mask, size) for size in SCALES))


def test_an_open_lock_changes_nothing_and_a_closed_one_is_the_source(source, chosen):
    bits, _ = decode(lock_of(source, np.ones((1, 16, 16), bool)), chosen)
    for one, other in zip(bits, chosen, strict=True):
        np.testing.assert_array_equal(one, other)
    bits, _ = decode(lock_of(source, np.zeros((1, 16, 16), bool)), chosen)
    labels = quantize.encode_labels(source, SCALES, patchify=False).bits
    np.testing.assert_array_equal(jnp.concatenate(bits, axis=1), labels)


def test_locked_bits_take_back_what_coarse_scales_changed(source, chosen):
    """The feature outside comes nearer to the source's than with the bits of its own pyramid."""
    mask = np.zeros((1, 16, 16), bool)
    mask[0, :4, :4] = True
    lock = lock_of(source, mask)
    bits, feature = decode(lock, chosen)
    own, _ = quantize.encode_scales(source, SCALES)
    fixed = jnp.zeros_like(source)
    for k, size in enumerate(SCALES):
        tokens = quantize.to_tokens(own[k], False)
        tokens = jnp.where(lock.editable[k][..., None], chosen[k], tokens)
        fixed = quantize.accumulate(fixed, tokens, size, SCALES[-1], False)
        np.testing.assert_array_equal(
            bits[k][lock.editable[k]], chosen[k][lock.editable[k]], err_msg=f"scale {k}"
        )
    outside = ~np.asarray(lock.editable[-1]).reshape(4, 4)
    error, other = (np.abs(x - source)[0][outside].mean() for x in (feature, fixed))
    assert error < other


def test_tokens_to_run(source):
    mask = np.zeros((1, 16, 16), bool)
    mask[0, 4:8, 8:12] = True  # row 1, column 2 of 4x4
    lock = lock_of(source, mask)
    for count in (1, 6, 12):
        limited, index = lock.only(3, SCALES[3], count)
        assert index.shape == (1, count) and 6 in index[0].tolist()
        np.testing.assert_array_equal(limited.editable[3], lock.editable[3])
        assert (np.diff(index[0]) > 0).all()
    assert set(lock.only(3, SCALES[3], 9)[1][0].tolist()) == {1, 2, 3, 5, 6, 7, 9, 10, 11}
    crowded = lock_of(source, np.ones((1, 16, 16), bool))
    limited, index = crowded.only(3, SCALES[3], 5)
    assert np.flatnonzero(limited.editable[3][0]).tolist() == index[0].tolist()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(3, (1, 4, 5, 8)), (5, (1, 4, 5, 8)), (8, (1, 4, 7, 12)), (9, (1, 4, 7, 12)), (13, ())],
)
def test_share_of_the_tokens_to_run(columns, expected):
    """The fine scales are 3x3 and 4x4; their cells of 16 pixels overlap."""
    mask = np.zeros((2, 16, 16), bool)
    mask[1, :, :columns] = True
    found = runs_of(mask, SCALES)
    needed = max(np.mean(cells_in(mask[1:], size)) for size in SCALES[2:])
    counts = found or (1, 4, 9, 16)
    assert counts[3] >= needed * 16 and counts[2] >= needed * 9
    assert found == expected
