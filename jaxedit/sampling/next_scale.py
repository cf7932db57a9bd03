"""Next-scale sampling: the source once, then K scales of bits, each added to the running feature.

Scales are unrolled, layers are scanned inside each scale. An image has R rows: with its text and
without it, or also those of a second decoding path. They are neighbours in the batch, so that a
batch cut over devices keeps them on one device. Axis letters: P texts, or decoding paths, of an
image.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32

from jaxedit.config import Scales
from jaxedit.models.varedit import Decoding, VAREdit
from jaxedit.ops import pyramid, quantize
from jaxedit.sampling.lock import BitLock, Lock
from jaxedit.sampling.methods import SamplingMethod
from jaxedit.tree import Tree

Bits = tuple[Bool[Array, "B _ Q"], ...]  # of every scale
# Of the two rows of an image: the path to which each belongs, and whether its text is dropped.
# Scales without guidance run the first row alone.
PATHS, DROPPED = (0, 0), (False, True)


class Network(NamedTuple):
    """The transformer, and the schedules that it follows.

    Attributes:
      model: the transformer.
      params: its parameters.
      scales: target schedule in tokens (static).
      rope_scales: schedule from which positions are taken (static).
      runs: number of tokens of each scale that are run; the others must be locked (static). Empty:
        all tokens.
      guided: number of scales, from the coarsest, for which the rows without a text are run
        (static). None: all scales.
    """

    model: VAREdit
    params: Tree
    scales: Scales
    rope_scales: Scales
    runs: tuple[int, ...] = ()
    guided: int | None = None

    def latent(self, k: int) -> tuple[int, int]:
        """Return the grid of scale k in latent positions."""
        factor = 2 if self.model.config.patchify else 1
        h, w = self.scales[k]
        return factor * h, factor * w

    def earlier(self, k: int) -> int | None:
        """Return the number of tokens that are run before scale k; None: all."""
        return sum(self.runs[:k]) if self.runs else None

    def apply(self, *args: Any, **options: Any) -> Any:
        """Call a method of the transformer."""
        return self.model.apply({"params": self.params}, *args, scales=self.scales, **options)


class Running(NamedTuple):
    """The state of sampling between two scales.

    Attributes:
      decoding: of the transformer.
      feature: of each path, the sum of the codes of all scales so far.
    """

    decoding: Decoding
    feature: Float32[Array, "B P H W d"]


def generate(
    model: VAREdit,
    params: Tree,
    text: Float[ArrayLike, "B T Ct"],
    text_mask: Bool[ArrayLike, "B T"],
    source: Float[ArrayLike, "B Ls Q"],
    method: SamplingMethod,
    *,
    scales: Scales,
    rope_scales: Scales,
    lock: BitLock | None = None,
    runs: tuple[int, ...] = (),
    guided: int | None = None,
) -> tuple[Bits, Float32[Array, "B H W d"]]:
    """Sample the bits of the edited images, and the feature that the image decoder takes.

    The function is pure, to be called inside one `jit`. Row i of the result depends on row i of the
    inputs and of `method` alone. (A backend may round matrix products differently for another batch
    size.)

    Args:
      model: the transformer.
      params: its parameters.
      text: features of the text encoder.
      text_mask: True at tokens.
      source: tokens of the source images.
      method: chooses the bits of each scale for the rows with and without the text.
      scales: target schedule in tokens (static).
      rope_scales: schedule from which positions are taken (static).
      lock: tokens that keep the source's bits; None: no tokens.
      runs, guided: see `Network`.

    Source: VAREdit, section 3.1 and appendix; release code.
    """
    network = Network(model, params, scales, rope_scales, runs, guided)
    state = begin(network, text[:, None], text_mask[:, None], source, paths=PATHS, dropped=DROPPED)
    return finish(network, state, method, lock=lock)


def begin(
    network: Network,
    text: Float[ArrayLike, "B P T Ct"],
    text_mask: Bool[ArrayLike, "B P T"],
    source: Float[ArrayLike, "B Ls Q"],
    *,
    paths: tuple[int, ...],
    dropped: tuple[bool, ...],
) -> Running:
    """Read the source, and the text of every path, for all rows of every image.

    Args:
      network: the transformer.
      text: features of each path's text.
      text_mask: True at tokens.
      source: tokens of the source images.
      paths: the path to which each of an image's R rows belongs (static).
      dropped: for each row whether its text is dropped; the mask stays its text's (static).
    """
    B, P = text.shape[:2]
    decoding = network.apply(
        _joined(jnp.asarray(text)[:, list(paths)]),
        _joined(jnp.asarray(text_mask)[:, list(paths)]),
        jnp.tile(jnp.array(dropped), B),
        jnp.repeat(source, len(paths), axis=0),
        rope_scales=network.rope_scales,
        method="begin",
    )
    full = network.latent(-1)
    return Running(decoding, jnp.zeros((B, P, *full, network.model.config.bits), jnp.float32))


def sample_scale(
    network: Network,
    state: Running,
    method: SamplingMethod,
    k: int,
    *,
    paths: tuple[int, ...],
    lock: Lock | None = None,
) -> tuple[Running, Bool[Array, "B P n Q"], Any]:
    """Sample the bits of the next scale on every path.

    Args:
      network: the transformer.
      state: from `begin`, or from the scale before.
      method: chooses the bits of each of the R rows; the rows of a path get the same bits.
      k: number of the scale, from 0.
      paths: the path to which each row belongs (static).
      lock: tokens that keep the source's bits on every path; None: no tokens.

    Returns:
      The new state, the bits, and what the method records.
    """
    P, is_patchified = state.feature.shape[1], network.model.config.patchify
    grid, full = network.latent(k), network.latent(-1)
    features, tokens, index = _joined(state.feature), None, None
    if k:
        tokens = _split(quantize.next_input(features, grid, is_patchified), P)
        tokens = _joined(tokens[:, list(paths)])
    n = pyramid.tokens(network.scales[k : k + 1])
    if network.runs and network.runs[k] < n:
        lock, index = lock.only(k, network.scales[k], network.runs[k])
        index = jnp.repeat(index, len(paths), axis=0)
        tokens = jnp.take_along_axis(tokens, index[..., None], axis=1)
    logits, decoding = network.apply(
        state.decoding, tokens, k, index=index, earlier=network.earlier(k), method="extend"
    )
    if index is not None:
        everywhere = jnp.zeros((len(index), n, *logits.shape[2:]), logits.dtype)
        logits = everywhere.at[jnp.arange(len(index))[:, None], index].set(logits)
    chosen, record = method(_split(logits, len(paths)), k)
    bits = chosen[:, [paths.index(p) for p in range(P)]]
    if lock is not None:
        bits = lock.keep(bits, state.feature, record, k, grid, is_patchified)
    features = quantize.accumulate(features, _joined(bits), grid, full, is_patchified)
    return Running(decoding, _split(features, P)), bits, record


def finish(
    network: Network,
    state: Running,
    method: SamplingMethod,
    bits: Bits = (),
    *,
    lock: BitLock | None = None,
) -> tuple[Bits, Float32[Array, "B H W d"]]:
    """Sample all scales that are left of a single path; return the bits and the feature.

    Args:
      network: the transformer.
      state: of the path; its rows are those of `PATHS` until guidance ends.
      method: see `generate`.
      bits: of the scales that were sampled before.
      lock: see `generate`.
    """
    for k in range(len(bits), len(network.scales)):
        if k == network.guided:
            state = keep(state, rows=(0,), paths=(0,), of=len(PATHS))
        is_guided = network.guided is None or k < network.guided
        paths = PATHS if is_guided else PATHS[:1]
        state, chosen, _ = sample_scale(network, state, method, k, paths=paths, lock=lock)
        bits = (*bits, chosen[:, 0])
    return bits, state.feature[:, 0]


def keep(state: Running, *, rows: tuple[int, ...], paths: tuple[int, ...], of: int) -> Running:
    """Return the state of some rows and paths.

    Args:
      state: of all.
      rows: numbers of the rows to keep, of an image's rows.
      paths: numbers of the paths to keep.
      of: R, rows of an image.
    """
    B = len(state.feature)
    kept = (of * jnp.arange(B)[:, None] + jnp.array(rows)[None]).reshape(-1)
    return Running(state.decoding.rows(kept), state.feature[:, list(paths)])


def _joined(x: Array) -> Array:
    """Join the axes of images [B] and of their rows or paths."""
    return x.reshape(-1, *x.shape[2:])


def _split(x: Array, parts: int) -> Array:
    """Split the first axis into images [B] and their `parts` rows or paths."""
    return x.reshape(-1, parts, *x.shape[1:])
