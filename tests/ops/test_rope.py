import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import SQUARE_SCALES, EditARConfig
from jaxedit.ops import rope


def release_positions(scales):
    return rope.sequence_positions(scales, SQUARE_SCALES, source_scales=scales[-1:], mode="release")


def test_coarse_cells_on_the_finest_grid():
    # 64/6 = 10.67 per cell, rounded as a product.
    rows = rope.grid_positions((6, 6), (64, 64))[::6, 0]
    np.testing.assert_array_equal(rows, [0, 11, 21, 32, 43, 53])
    np.testing.assert_array_equal(
        rope.grid_positions((2, 2), (5, 5)), [[0, 0], [0, 2], [2, 0], [2, 2]]
    )  # 2.5 is rounded to even


def test_release_reads_its_table_from_the_first_row():
    positions = release_positions(SQUARE_SCALES[:10])  # 512 px
    assert len(positions) == 3545
    np.testing.assert_array_equal(positions[0], [64, 64])
    np.testing.assert_array_equal(positions[32], [64, 96])  # second row of the source
    starts = 1024 + np.cumsum([0, 1, 4, 16, 36, 64, 144, 256, 400, 576])
    expected = "80,64 80,65 80,69 80,85 80,121 81,121 84,73 88,73 94,89 103,89"
    assert " ".join(f"{a},{b}" for a, b in positions[starts]) == expected


def test_grid_places_source_beside_target():
    positions = rope.sequence_positions(
        ((1, 1), (2, 2)), SQUARE_SCALES, source_scales=((2, 2),), mode="grid"
    )
    source, start, target = positions[:4], positions[4], positions[5:]
    np.testing.assert_array_equal(start, [0, 0])
    np.testing.assert_array_equal(target, [[0, 0], [0, 32], [32, 0], [32, 32]])
    np.testing.assert_array_equal(source, target + 64)


def test_modes_agree_at_the_largest_resolution():
    grid = rope.sequence_positions(
        SQUARE_SCALES, SQUARE_SCALES, source_scales=SQUARE_SCALES[-1:], mode="grid"
    )
    np.testing.assert_array_equal(grid, release_positions(SQUARE_SCALES))


def test_release_positions_match_golden(varedit_case):
    config = varedit_case.config
    positions = rope.sequence_positions(
        config.scales, config.rope_scales, source_scales=config.scales[-1:], mode="release"
    )
    np.testing.assert_array_equal(positions, varedit_case.arrays["rope.pos"])
    if "rope.cos_sin" in varedit_case.arrays:
        table = rope.rotary_table(positions, config.head_width, config.rope_base)
        np.testing.assert_allclose(table, varedit_case.arrays["rope.cos_sin"], atol=1e-5)


@pytest.mark.parametrize("mode", ["grid", "release"])
def test_positions_without_a_source_match_golden(infinity_case, mode):
    config = infinity_case.config
    positions = rope.sequence_positions(
        config.scales, config.rope_scales, source_scales=(), mode=mode
    )
    np.testing.assert_array_equal(positions, infinity_case.arrays["rope_sq.pos"])


def test_too_long_sequence_is_an_error():
    with pytest.raises(ValueError, match="2 positions for 8 tokens"):
        rope.sequence_positions(((2, 2),), ((1, 1),), source_scales=((2, 2),), mode="release")


def test_first_half_of_channels_carries_the_row():
    table = rope.rotary_table(np.array([[1, 0], [0, 1]]), 8, 10000.0)  # [2,2,4]
    angle = np.array([1.0, 0.01], np.float32)  # 10000 ** (-2j / 4)
    np.testing.assert_allclose(table[1, 0], [*np.sin(angle), 0, 0], rtol=1e-6)
    np.testing.assert_allclose(table[1, 1], [0, 0, *np.sin(angle)], rtol=1e-6)


def test_rotation_by_a_quarter_turn():
    table = np.array([[[0.0, 1.0]], [[1.0, 0.0]]], np.float32)  # pair 0 by 90 degrees, pair 1 not
    x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    np.testing.assert_allclose(rope.rotate(x, table)[0, 0, 0], [-2, 1, 3, 4])


def test_a_quarter_turn_is_exact_in_every_dtype():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5, 8))
    for dtype in (jnp.float32, jnp.bfloat16):
        x = x.astype(dtype)
        expected = jnp.stack([-x[..., 1::2], x[..., ::2]], axis=-1).reshape(x.shape)
        np.testing.assert_array_equal(rope.quarter_turn(x), expected)


def test_products_depend_on_relative_position():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 16))

    def turn(x, at):
        return rope.rotate(x, rope.rotary_table(np.array([at]), 16, 100.0))

    def product(p, r):
        return float(jnp.sum(turn(q, p) * turn(k, r)))

    assert product((3, 5), (1, 9)) == pytest.approx(product((13, 8), (11, 12)), abs=1e-5)


def test_target_lies_one_grid_further_along_the_diagonal():
    config = EditARConfig(width=8, heads=1, grid=4, text_tokens=3)
    table = rope.sequence_table(config)  # [2,16+3+16,4]
    assert table.shape == (2, 35, 4) and table.dtype == np.float32
    angle = np.array([1.0, 0.01], np.float32)  # 10000 ** (-2j / 4)
    row, column = 1, 2
    at = 4 * row + column
    np.testing.assert_allclose(table[1, at], np.sin([*row * angle, *column * angle]), atol=1e-6)
    target = [*(4 + row) * angle, *(4 + column) * angle]
    np.testing.assert_allclose(table[0, 19 + at], np.cos(target), atol=1e-6)
    np.testing.assert_array_equal(table[:, 16:19], 0)


@pytest.mark.parametrize("prefix, tokens", [("text", 3), ("class", 1)])
def test_without_a_source_cells_lie_at_their_own_place(prefix, tokens):
    config = EditARConfig(width=8, heads=1, grid=2, text_tokens=3, prefix=prefix)
    table = rope.sequence_table(config)
    cells = rope.rotary_table(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), 8, 10000.0)
    np.testing.assert_array_equal(table[:, :tokens], 0)
    np.testing.assert_array_equal(table[:, tokens:], cells)


def test_zero_rows_make_zero_keys():
    assert not rope.rotate(jnp.ones((1, 1, 2, 8)), np.zeros((2, 2, 4), np.float32)).any()


def test_rotating_channels_in_place_equals_rotating_heads():
    generator = np.random.default_rng(0)
    positions = generator.integers(0, 9, (5, 2))
    table = jnp.asarray(rope.rotary_table(positions, head_width=8, base=100.0))
    x = jnp.asarray(generator.standard_normal((2, 5, 3, 8), np.float32))  # [B,S,A,E]
    expected = rope.rotate(x.swapaxes(1, 2), table).swapaxes(1, 2)
    got = rope.rotate_channels(x.reshape(2, 5, 24), rope.channel_table(table, 3))
    np.testing.assert_allclose(got.reshape(x.shape), expected, atol=1e-6)
