"""Two paths side by side: the reconstruction tells the edit what the model would keep.

Both paths draw with the same Gumbel noise, so they differ only where their logits do. Three numbers
per token are kept of the two distributions; the distributions themselves are never stored.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import ERecConfig
from jaxedit.ops.divergence import jensen_shannon, negative_log_likelihood
from jaxedit.sampling.gumbel import choose, gumbel
from jaxedit.sampling.tokens import guide_tokens, truncate


class Step(NamedTuple):
    """What one position leaves behind.

    rec, edit: i32[B], tokens; js: f32[B], bits; nll_rec, nll_edit: f32[B], nats.
    """

    rec: Any
    edit: Any
    js: Any
    nll_rec: Any
    nll_edit: Any


class Layout(NamedTuple):
    """Which rows of a picture belong to which path.

    path: of each row, 0 = reconstruction, 1 = editing; whose token it takes.
    rec, edit: rows of a path's logits, the conditional one first.
    """

    path: tuple[int, ...]
    rec: tuple[int, ...]
    edit: tuple[int, ...]


def layout(recon_guidance: str, guidance_rows: int) -> Layout:
    """Rows of a picture: [cond_rec, cond_edit, null_rec, null_edit] or fewer.

    Args:
      recon_guidance: "own" null rows of the reconstruction, "shared" ones, or "none" at all; the
        last two have rows [cond_rec, cond_edit, null_edit].
      guidance_rows: of a single path: 1 without guidance, 2, or 3 (dual).
    """
    if recon_guidance == "own":
        rows = tuple(range(2 * guidance_rows))
        return Layout(tuple(r % 2 for r in rows), rows[::2], rows[1::2])
    null = tuple(range(2, 1 + guidance_rows))
    return Layout(
        (0, 1) + (1,) * len(null), (0, *(null if recon_guidance == "shared" else ())), (1, *null)
    )


def token_step(
    cond: jax.Array,
    guided: jax.Array,
    noise: jax.Array,
    source: jax.Array,
    *,
    top_k: jax.Array,
    top_p: jax.Array,
    tau_replace: jax.Array,
    config: ERecConfig,
) -> Step:
    """Draw one token on each path and measure how far the paths are apart.

    Args:
      cond: f32[B,2,V], conditional logits of reconstruction and editing over the temperature.
      guided: f32[B,2,V], the same after guidance.
      noise: f32[B,2,V], Gumbel noise; 0 takes the likeliest token.
      source: i32[B], the source's token here.
      top_k: i32[]; top_p: f32[]; candidates are chosen before the noise.
      tau_replace: f32[], bits; of direct replacement.
      config: which distributions are compared, and whether tokens are replaced.

    Source: ERec, equations 3, 4, 6 and algorithm 2.
    """
    candidates = truncate(guided, top_k, top_p)
    compared = {"guided": guided, "cond": cond, "truncated": candidates}[config.probabilities]
    log_p = jax.nn.log_softmax(compared)  # [B,2,V]
    js = jensen_shannon(log_p[:, 0], log_p[:, 1])
    nll = negative_log_likelihood(log_p, jnp.stack([source, source], axis=1))  # [B,2]
    rec, edit = choose(candidates, noise).T
    if config.direct_replacement:
        edit = jnp.where(js < tau_replace, source, edit)
    return Step(rec, edit, js, nll[:, 0], nll[:, 1])
