"""Two-dimensional rotary positions of tokens: by scales (VAREdit) or by raster order (EditAR)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.config import EditARConfig, Scales


def grid_positions(scale: tuple[int, int], full: tuple[int, int]) -> np.ndarray:
    """Positions of a coarse grid's cells on the finest grid, in raster order.

    Args:
      scale: (h, w) of the coarse grid.
      full: (H, W) of the finest grid.

    Returns:
      i64[h*w,2], (row, column); half-way values are rounded to even.

    Source: VAREdit, equation 10, with the release's rounding of the product.
    """
    rows, columns = (
        np.rint(np.arange(n) * full_n / n) for n, full_n in zip(scale, full, strict=True)
    )
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).astype(np.int64)


def sequence_positions(
    scales: Scales, rope_scales: Scales, *, source_scales: Scales, mode: str
) -> np.ndarray:
    """Positions of the whole sequence [source | scale 1 | ... | scale K].

    `grid`: every cell sits where it lies on the finest grid of `rope_scales`; the source is moved
    by one full grid along the diagonal. `release`, with which the published weights were trained:
    one table [source on the finest grid | all of `rope_scales`], read from its first row on,
    however long source and scales really are; both modes agree when `scales` is `rope_scales`.

    Args:
      scales: target schedule.
      rope_scales: schedule of the largest resolution; its last entry is the finest grid.
      source_scales: grids of the source tokens: the last scale, all scales (`full`), or none.
      mode: "grid" or "release".

    Returns:
      i64[S,2].

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


def rotary_table(positions: np.ndarray, head_width: int, base: float) -> np.ndarray:
    """Cosine and sine for every position and pair of channels.

    Args:
      positions: int[S,2], (row, column).
      head_width: E, a multiple of 4; the first half of the channels carries the row.
      base: of the geometric series of frequencies.

    Returns:
      f32[2,S,E/2].

    Source: 2-D axial form of RoFormer, section 3.4.2.
    """
    half = head_width // 2
    frequencies = 1.0 / base ** (np.arange(0, half, 2, dtype=np.float32) / half)  # [E/4]
    angles = positions.astype(np.float32)[:, :, None] * frequencies.astype(np.float32)[None, None]
    angles = angles.reshape(len(positions), half)  # [S,E/2]: row angles, then column angles
    return np.stack([np.cos(angles), np.sin(angles)])


def sequence_table(config: EditARConfig) -> np.ndarray:
    """Cosine and sine of the whole sequence of LlamaGen or EditAR.

    The target's cells lie one grid further along the diagonal than the source's (edit), or at
    their own place (text, class). The rows of text and class are zero, which is no rotation but
    makes queries and keys zero: text is seen by its values only, with equal weights.

    Args:
      config: sizes and the kind of prefix.

    Returns:
      f32[2,S,E/2], S positions of prefix and image.

    Source: LlamaGen, section 2.2; EditAR, section 3.2; the zeros are the release code's.
    """
    g, E = config.grid, config.head_width
    cells = grid_positions((g, g), (g, g))
    is_edit = config.prefix == "edit"
    plain = np.zeros((2, 1 if config.prefix == "class" else config.text_tokens, E // 2), np.float32)
    source = rotary_table(cells[: len(cells) * is_edit], E, config.rope_base)
    target = rotary_table(cells + g * is_edit, E, config.rope_base)
    return np.concatenate([source, plain, target], axis=1)


def rotate(x: jax.Array, table: jax.Array) -> jax.Array:
    """Turn each pair of channels (2p, 2p+1) by its angle.

    Args:
      x: f32[B,A,S,E].
      table: f32[2,S,E/2] from `rotary_table`.

    Returns:
      f32[B,A,S,E].
    """
    cos, sin = table[0][None, None], table[1][None, None]
    a, b = x[..., 0::2], x[..., 1::2]
    return jnp.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)


def channel_table(table: jax.Array, heads: int) -> jax.Array:
    """What `rotate_channels` multiplies by: f32[2,S,E/2] to f32[2,S,heads*E]."""
    cos, sin = jnp.repeat(table[0], 2, axis=-1), jnp.repeat(table[1], 2, axis=-1)
    sin = jnp.where(jnp.arange(sin.shape[-1])[None] % 2 == 0, -sin, sin)
    return jnp.tile(jnp.stack([cos, sin]), (1, 1, heads))


def rotate_channels(x: jax.Array, table: jax.Array) -> jax.Array:
    """`rotate` of heads that lie side by side, without moving a channel further than its neighbour.

    Args:
      x: f32[B,S,A*E].
      table: f32[2,S,A*E] from `channel_table`, or f32[2,1,A*E] for tokens at one position.

    Returns:
      f32[B,S,A*E].
    """
    is_first = (jnp.arange(x.shape[-1]) % 2 == 0)[None, None]
    partner = jnp.where(is_first, jnp.roll(x, -1, axis=-1), jnp.roll(x, 1, axis=-1))
    return x * table[0][None] + partner * table[1][None]
