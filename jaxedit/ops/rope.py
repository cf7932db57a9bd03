"""Two-dimensional rotary position embeddings, by scales (VAREdit) or in raster order (EditAR)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float32, Int, Int64

from jaxedit.config import EditARConfig, Scales


def grid_positions(scale: tuple[int, int], full: tuple[int, int]) -> Int64[np.ndarray, "n 2"]:
    """Return the positions of a coarse grid's cells on the finest grid, in raster order.

    Args:
      scale: (h, w) of the coarse grid; n = h * w.
      full: (H, W) of the finest grid.

    Returns:
      (row, column) of each cell; half-way values are rounded to even.

    Source: VAREdit, equation 10, with the release's rounding of the product.
    """
    rows, columns = (
        np.rint(np.arange(n) * full_n / n) for n, full_n in zip(scale, full, strict=True)
    )
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).astype(np.int64)


def sequence_positions(
    scales: Scales, rope_scales: Scales, *, source_scales: Scales, mode: str
) -> Int64[np.ndarray, "S 2"]:
    """Return the positions of the whole sequence [source | scale 1 | ... | scale K].

    In mode `grid`, every cell has its position on the finest grid of `rope_scales`, and the source
    is shifted by a full grid along the diagonal. In mode `release`, with which the published
    weights were trained, positions are the first S rows of the table [source on the finest grid |
    all of `rope_scales`], whatever the lengths of source and scales are. Both modes agree if
    `scales` is `rope_scales`.

    Args:
      rope_scales: schedule of the largest resolution; its last entry is the finest grid.
      source_scales: grids of the source tokens: the last scale, all scales (`full`), or none.
      mode: "grid" or "release".

    Returns:
      (row, column) of each token.

    Raises:
      ValueError: `release` has fewer positions than the sequence has tokens.

    Source: VAREdit, equations 10 and 11, and its released code.
    """
    full = rope_scales[-1]
    if mode == "grid":
        source, target = source_scales, scales
    else:
        source, target = (full,) if source_scales else (), rope_scales
    offset = np.array([full])  # [1,2]
    parts = [grid_positions(s, full) + offset for s in source]
    parts += [grid_positions(s, full) for s in target]
    length = sum(h * w for h, w in (*source_scales, *scales))
    positions = np.concatenate(parts)[:length]
    if len(positions) < length:
        raise ValueError(
            f"rope_scales={rope_scales}: {len(positions)} positions for {length} tokens"
        )
    return positions


def rotary_table(
    positions: Int[np.ndarray, "S 2"], head_width: int, base: float
) -> Float32[np.ndarray, "2 S {head_width//2}"]:
    """Return cosine and sine of the rotation angle for every position and pair of channels.

    Args:
      positions: (row, column) of each token.
      head_width: E, a multiple of 4; the first half of the channels carries the row.
      base: of the geometric series of frequencies.

    Source: 2-D axial form of RoFormer, section 3.4.2.
    """
    half = head_width // 2
    frequencies = 1.0 / base ** (np.arange(0, half, 2, dtype=np.float32) / half)  # [E/4]
    angles = positions.astype(np.float32)[:, :, None] * frequencies.astype(np.float32)[None, None]
    angles = angles.reshape(len(positions), half)  # [S,E/2]: row angles, then column angles
    return np.stack([np.cos(angles), np.sin(angles)])


def sequence_table(config: EditARConfig) -> Float32[np.ndarray, "2 S half"]:
    """Return cosine and sine for the whole sequence of LlamaGen or EditAR.

    When editing, the target's cells are shifted by a full grid along the diagonal from the
    source's; without a source they are not shifted. The rows of text and class tokens are zero,
    which makes their queries and keys zero, so that attention averages their values with equal
    weights.

    Returns:
      Cosine and sine at the S positions of prefix and image, for half = E/2 pairs of channels.

    Source: LlamaGen, section 2.2; EditAR, section 3.2; the zeros are in the released code.
    """
    g, E = config.grid, config.head_width
    cells = grid_positions((g, g), (g, g))
    is_edit = config.prefix == "edit"
    plain = np.zeros((2, 1 if config.prefix == "class" else config.text_tokens, E // 2), np.float32)
    source = rotary_table(cells[: len(cells) * is_edit], E, config.rope_base)
    target = rotary_table(cells + g * is_edit, E, config.rope_base)
    return np.concatenate([source, plain, target], axis=1)


def rotate(
    x: Float[ArrayLike, "B A S E"], table: Float[ArrayLike, "2 *B S E//2"]
) -> Float[Array, "B A S E"]:
    """Rotate each pair of channels (2p, 2p + 1) by its angle.

    Args:
      x: queries or keys.
      table: from `rotary_table`; with an axis B if the rows of a batch have different positions.
    """
    return rotate_by(x, quarter_turn(x), table)


def rotate_by(
    x: Float[ArrayLike, "B A S E"],
    turned: Float[ArrayLike, "B A S E"],
    table: Float[ArrayLike, "2 *B S E//2"],
) -> Float[Array, "B A S E"]:
    """Compute `rotate`, given `x` and its quarter turn, both of any length."""
    table = jnp.repeat(table, 2, axis=-1)
    cos, sin = (part.reshape(-1, 1, *part.shape[-2:]) for part in (table[0], table[1]))
    return x * cos + turned * sin


def quarter_turn(x: Float[ArrayLike, "*n E"]) -> Float[Array, "*n E"]:
    """Turn each pair of channels (a, b) into (-b, a).

    This is a product with a matrix of 0, 1 and -1, which is exact in every dtype: a TPU multiplies
    much faster than it moves channels. As a product by batch it is computed again, not kept, where
    only products with weights are kept for the backward pass.
    """
    turn = np.kron(np.eye(x.shape[-1] // 2), [[0, 1], [-1, 0]])
    turn = jnp.broadcast_to(jnp.asarray(turn, x.dtype), (len(x), *turn.shape))
    precision = "highest" if x.dtype == jnp.float32 else None  # others are multiplied as they are
    return jnp.einsum("b...e,bef->b...f", x, turn, precision=precision)


def channel_table(
    table: Float[ArrayLike, "2 S half"], heads: int
) -> Float[Array, "2 S {heads}*2*half"]:
    """Return the table that `rotate_channels` takes, for `heads` heads side by side."""
    cos, sin = jnp.repeat(table[0], 2, axis=-1), jnp.repeat(table[1], 2, axis=-1)
    sin = jnp.where(jnp.arange(sin.shape[-1])[None] % 2 == 0, -sin, sin)
    return jnp.tile(jnp.stack([cos, sin]), (1, 1, heads))


def rotate_channels(
    x: Float[ArrayLike, "B S D"], table: Float[ArrayLike, "2 #S D"]
) -> Float[Array, "B S D"]:
    """Compute `rotate` for heads that lie side by side in D = A * E channels.

    No channel moves further than to its neighbour, which is faster than reshaping on a TPU.

    Args:
      x: queries or keys.
      table: from `channel_table`; with a single position for tokens that are all at that position.
    """
    is_first = (jnp.arange(x.shape[-1]) % 2 == 0)[None, None]
    partner = jnp.where(is_first, jnp.roll(x, -1, axis=-1), jnp.roll(x, 1, axis=-1))
    return x * table[0][None] + partner * table[1][None]
