"""The edit mask: where a picture was edited, told from what the two paths left behind.

It needs only three maps, so other thresholds need no second decoding.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import ERecConfig


class Maps(NamedTuple):
    """What every token tells about its place, f32[B,g,g] each.

    js: bits in [0,1], between the distributions of reconstruction and editing path.
    nll_rec, nll_edit: nats, of the source's token on either path; +inf if it cannot occur.
    """

    js: Any
    nll_rec: Any
    nll_edit: Any


class Thresholds(NamedTuple):
    """Numbers that may change without compiling again, f32[] each; as in ERecConfig."""

    tau_js: Any
    tau_low: Any
    tau_high: Any
    tau_replace: Any


def split(config: ERecConfig) -> tuple[Thresholds, ERecConfig]:
    """The numbers of `config`, and the rest of it: what compiled programs depend on."""
    numbers = {name: jnp.float32(getattr(config, name)) for name in Thresholds._fields}
    defaults = ERecConfig()
    rest = {name: getattr(defaults, name) for name in (*Thresholds._fields, "recon_prompt")}
    return Thresholds(**numbers), dataclasses.replace(config, **rest)


def edit_mask(maps: Maps, thresholds: Thresholds, config: ERecConfig) -> jax.Array:
    """Tokens that were edited: the paths disagree nearby, and neither NLL speaks for background.

    With `direct_replacement` it is the tokens that decoding did not replace.

    Args:
      maps: f32[B,g,g] each.
      thresholds: numbers; those of `config` are not read.
      config: which stages there are.

    Returns:
      bool[B,g,g], True = edited.

    Source: ERec, equations 5, 7, 8; algorithm 3, steps 1 and 2.
    """
    if config.direct_replacement:
        return maps.js >= thresholds.tau_replace
    k = config.dilation
    js = jax.lax.reduce_window(maps.js, -jnp.inf, jax.lax.max, (1, k, k), (1, 1, 1), "SAME")
    mask = js >= thresholds.tau_js
    if config.use_nll_low:
        mask &= maps.nll_edit > thresholds.tau_low
    if config.use_nll_high:
        mask &= maps.nll_rec < thresholds.tau_high
    return mask
