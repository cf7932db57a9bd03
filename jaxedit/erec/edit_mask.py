"""The edit mask: the places that were edited, computed from the maps of dual-path decoding.

The maps do not depend on the thresholds: other thresholds need no second decoding.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float32, Int32

from jaxedit.config import ERecConfig


class Maps(NamedTuple):
    """Maps over the token grid that compare the two paths.

    Attributes: js: Jensen-Shannon divergence between the paths' distributions, bits in [0,1].
      nll_rec, nll_edit: negative log-likelihood of the source's token on each path, nats; +inf if
      the
        token cannot occur.
    """

    js: Float32[ArrayLike, "B g g"]
    nll_rec: Float32[ArrayLike, "B g g"]
    nll_edit: Float32[ArrayLike, "B g g"]


class Thresholds(NamedTuple):
    """The thresholds of ERecConfig, and the sides of its neighbourhoods, as arrays.

    They may change without compiling again.
    """

    tau_js: Float32[ArrayLike, ""]
    tau_low: Float32[ArrayLike, ""]
    tau_high: Float32[ArrayLike, ""]
    tau_replace: Float32[ArrayLike, ""]
    dilation: Int32[ArrayLike, ""]
    growth: Int32[ArrayLike, ""]  # of next-scale models


def split(config: ERecConfig) -> tuple[Thresholds, ERecConfig]:
    """Split `config` into thresholds and the settings that compiled programs depend on."""
    thresholds = Thresholds(
        tau_js=jnp.float32(config.tau_js),
        tau_low=jnp.float32(config.tau_low),
        tau_high=jnp.float32(config.tau_high),
        tau_replace=jnp.float32(config.tau_replace),
        dilation=jnp.int32(config.dilation),
        growth=jnp.int32(getattr(config, "growth", 1)),
    )
    defaults, names = type(config)(), (*Thresholds._fields, "recon_prompt")
    rest = {name: getattr(defaults, name) for name in names if hasattr(config, name)}
    return thresholds, dataclasses.replace(config, **rest)


def dilate(
    x: Float32[ArrayLike, "B g g"] | Bool[ArrayLike, "B g g"], side: Int32[ArrayLike, ""]
) -> Float32[Array, "B g g"] | Bool[Array, "B g g"]:
    """Return the largest value in the square of an odd `side` around each token.

    The square grows by a ring at a time, so that one program serves every side.
    """
    least = False if x.dtype == bool else -jnp.inf

    def grow(_: Int32[Array, ""], x: Array) -> Array:
        return jax.lax.reduce_window(x, least, jax.lax.max, (1, 3, 3), (1, 1, 1), "SAME")

    return jax.lax.fori_loop(0, jnp.minimum(side // 2, max(x.shape[1:])), grow, x)


def limit(
    mask: Bool[ArrayLike, "B g g"], editable: Bool[ArrayLike, "B g g"], mode: str
) -> Bool[Array, "B g g"]:
    """Return ERec's edit mask, limited to the tokens that may differ from the source's.

    Args:
      mask: what `edit_mask` returned.
      editable: True at tokens that the user's mask touches; all True without such a mask.
      mode: "intersection" of both, or "given": the user's mask alone, for pictures that have one.
    """
    if mode == "intersection":
        return mask & editable
    return jnp.where(editable.all((1, 2), keepdims=True), mask, editable)


def edit_mask(maps: Maps, thresholds: Thresholds, config: ERecConfig) -> Bool[Array, "B g g"]:
    """Return the mask of edited tokens, True = edited.

    A token is edited if the paths disagree at it or nearby, and neither NLL indicates background.
    With `direct_replacement`, all tokens that decoding did not replace are edited.

    Args:
      maps: from dual-path decoding.
      thresholds: the thresholds and sides; those of `config` are not used.
      config: which stages are applied.

    Source: ERec, equations 5, 7, 8; algorithm 3, steps 1 and 2.
    """
    if config.direct_replacement:
        return maps.js >= thresholds.tau_replace
    mask = dilate(maps.js, thresholds.dilation) >= thresholds.tau_js
    if config.use_nll_low:
        mask &= maps.nll_edit > thresholds.tau_low
    if config.use_nll_high:
        mask &= maps.nll_rec < thresholds.tau_high
    return mask
