"""Next-scale decoding on two paths: the edit, and a reconstruction of the source by the same model.

Both paths compare the same uniform numbers with their bits' probabilities, so that they differ only
where the probabilities do. ERec's two measures are taken at every token of a scale:

- The divergence of the paths, see `ops.divergence.bits_jensen_shannon`.
- The likelihood, on each path, of the source's token: the bits of the residual that the path's own
  running feature leaves of the source. After an early difference these bits lead back to the
  source, which the bits of the source's own pyramid would not.

A token of the finest grid gets the largest value of the scales that decide: a change shows first
where it is coarse, and detail (a face, a texture) only where it is fine. Grids of a few tokens
cover too much of the picture to decide. The mask grows by a token at last, after the filters by
likelihood, because a token at the border of an edit may well be the source's.

With two passes all scales decide, and the edit is decoded again inside the mask. With one pass the
coarse scales decide for the fine scales, which cost nearly everything: these need no reconstruction
path. What the coarse scales have changed outside the mask, the fine scales take back, because
locked tokens hold the residual of the running feature.

Source: ERec, algorithms 1 and 3, carried over to bits by us.
"""

import dataclasses
import functools
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32

from jaxedit.config import ScaleERecConfig, Scales
from jaxedit.config.checks import require
from jaxedit.erec.dual_path import Layout
from jaxedit.erec.edit_mask import Maps, Thresholds, dilate, edit_mask, limit
from jaxedit.erec.replacement import LogOdds, Uniforms, replacing
from jaxedit.ops.divergence import bits_jensen_shannon, bits_negative_log_likelihood
from jaxedit.sampling import next_scale
from jaxedit.sampling.lock import BitLock, Lock, cells_in, source_bits
from jaxedit.sampling.methods import BitSampling, Numbers, guide_bits, truncate_bits
from jaxedit.sampling.next_scale import Bits, Network, Running


class Found(NamedTuple):
    """The edit mask of B images, and the state from which the edit goes on.

    Attributes:
      mask: on the finest grid, True = edited.
      maps: the measures behind the mask, on the finest grid.
      state: of the editing path, before the next scale.
      bits: of the edit, at the scales that need not be decoded again.
      features: of the "reconstruction" and of the "raw_edit", before anything was locked;
        none if only coarse scales were decoded.
    """

    mask: Bool[Array, "B g g"]
    maps: Maps
    state: Running
    bits: Bits
    features: dict[str, Float32[Array, "B H W d"]]


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DualPathBitSampling:
    """A sampling method that draws the bits of each path, both with the same uniform numbers.

    Attributes:
      uniforms: of the reconstruction and of the edit, as of `BitSampling`; None: greedy.
      numbers: numbers of SampleConfig.
      rows: the layout of an image's rows.
      probabilities: which log-odds are recorded, see ERecConfig.
    """

    uniforms: tuple[Uniforms, Uniforms] | None
    numbers: Numbers
    rows: Layout = dataclasses.field(metadata={"static": True})
    probabilities: str = dataclasses.field(metadata={"static": True})

    def __call__(
        self, logits: Float[Array, "B R n Q 2"], scale: int
    ) -> tuple[Bool[Array, "B R n Q"], LogOdds]:
        """Choose bits as `SamplingMethod` describes; recorded are the paths' log-odds."""
        n = self.numbers
        guidance, temperature = n["guidance"][scale], n["temperature"][scale]
        bits, recorded = [], []
        for path, rows in enumerate((self.rows.rec, self.rows.edit)):
            cond, uncond = logits[:, rows[0]], logits[:, rows[-1]]
            weight = guidance if len(rows) > 1 else jnp.ones_like(guidance)
            guided = _log_odds(guide_bits(cond, uncond, weight, temperature))
            candidates = truncate_bits(guided, n)
            if self.uniforms is None:
                bits.append(guided > 0)
            else:
                bits.append(self.uniforms[path][scale] < jax.nn.sigmoid(candidates))
            given = {"guided": guided, "truncated": candidates}
            recorded.append(given.get(self.probabilities, _log_odds(cond / temperature)))
        return jnp.stack([bits[p] for p in self.rows.path], axis=1), jnp.stack(recorded, axis=1)


def _log_odds(logits: Float[Array, "*n Q 2"]) -> Float[Array, "*n Q"]:
    return logits[..., 1] - logits[..., 0]


def find_mask(
    network: Network,
    state: Running,
    source: Float[Array, "B H W d"],
    method: DualPathBitSampling,
    thresholds: Thresholds,
    *,
    erec: ScaleERecConfig,
    editable: Bool[Array, "B S S"] | None = None,
) -> Found:
    """Decode both paths as far as is needed, and find the edit mask.

    Args:
      network: the transformer.
      state: from `next_scale.begin`, with the rows of `method`.
      source: features of the source images, before quantisation.
      method: draws the bits of both paths.
      thresholds: first result of `edit_mask.split`.
      erec: second result of `edit_mask.split`.
      editable: True at pixels that may change, on both paths; None: all.
    """
    scales, start, all_rows = network.scales, state, method.rows
    given = None if editable is None else tuple(cells_in(editable, size) for size in scales)
    lock: Lock | None = None if given is None else BitLock(source, given)
    if erec.direct_replacement:
        uniforms = method.uniforms and method.uniforms[1]
        lock = replacing(source, uniforms, thresholds.tau_replace, erec.replacement, lock)
    is_final = erec.direct_replacement or not erec.refine
    is_whole = is_final or erec.passes == "two"
    deciding = deciding_scales(scales, erec.mask_from, 1.0 if is_whole else erec.mask_until)
    chosen, measured = [], []
    for k in range(deciding.stop):
        if k == network.guided:
            state, method = _without_guidance(state, method)
        feature = state.feature
        state, bits, log_odds = next_scale.sample_scale(
            network, state, method, k, paths=method.rows.path, lock=lock
        )
        chosen.append(bits[:, 1])
        measured.append(_measure(network, source, feature, log_odds, k))
    maps = _pool(measured, scales, deciding)
    mask = dilate(edit_mask(maps, thresholds, erec), thresholds.growth)
    if given is not None:
        mask = limit(mask, given[-1].reshape(mask.shape), erec.mask_mode)
    features = {}
    if is_whole:
        features = {"reconstruction": state.feature[:, 0], "raw_edit": state.feature[:, 1]}
    rows = method.rows
    if is_whole and not is_final:
        state, chosen, rows = start, [], all_rows
    state = next_scale.keep(state, rows=rows.edit, paths=(1,), of=len(rows.path))
    return Found(mask, maps, state, tuple(chosen), features)


def finish(
    network: Network, found: Found, source: Float[Array, "B H W d"], method: BitSampling
) -> tuple[Bits, Float32[Array, "B H W d"]]:
    """Decode what is left of the edit, inside the mask; return bits and feature of the edit.

    Args:
      network: the transformer; its `runs` have room for the mask.
      found: from `find_mask`.
      source: features of the source images, before quantisation.
      method: draws the bits of the edit, from two rows for each image.
    """
    lock = BitLock(source, tuple(cells_in(found.mask, size) for size in network.scales))
    return next_scale.finish(network, found.state, method, found.bits, lock=lock)


def deciding_scales(scales: Scales, low: float, high: float) -> range:
    """Return the numbers of the scales whose grid is between two shares of the finest grid.

    Raises:
      ConfigError: there is none.
    """
    sides = [max(size) / max(scales[-1]) for size in scales]
    found = [k for k, side in enumerate(sides) if low <= side <= high]
    require(
        bool(found),
        f"erec.mask_from={low}, mask_until={high}: expected a range in which there is one of the "
        f"grids, {', '.join(f'{side:.3g}' for side in sides)} of the finest",
    )
    return range(found[0], found[-1] + 1)


def _without_guidance(
    state: Running, method: DualPathBitSampling
) -> tuple[Running, DualPathBitSampling]:
    """Keep the row with the text of either path."""
    rows = method.rows
    state = next_scale.keep(
        state, rows=(rows.rec[0], rows.edit[0]), paths=(0, 1), of=len(rows.path)
    )
    return state, dataclasses.replace(method, rows=Layout(path=(0, 1), rec=(0,), edit=(1,)))


def _measure(
    network: Network,
    source: Float[Array, "B H W d"],
    feature: Float[Array, "B 2 H W d"],
    log_odds: LogOdds,
    k: int,
) -> Maps:
    """Compare the two paths at scale k; the maps are f32[B,h,w] on its own grid."""
    own = source_bits(source, feature, network.latent(k), network.model.config.patchify)
    js = bits_jensen_shannon(log_odds[:, 0], log_odds[:, 1])
    nll = bits_negative_log_likelihood(log_odds, own)  # [B,2,n]
    return Maps(*(x.reshape(-1, *network.scales[k]) for x in (js, nll[:, 0], nll[:, 1])))


def _pool(measured: list[Maps], scales: Scales, deciding: range) -> Maps:
    """Return the largest value of the deciding scales at each token of the finest grid."""

    def largest(*maps: jax.Array) -> jax.Array:
        shape = (len(maps[0]), *scales[-1])
        return functools.reduce(jnp.maximum, (jax.image.resize(m, shape, "nearest") for m in maps))

    return jax.tree.map(largest, *(measured[k] for k in deciding))
