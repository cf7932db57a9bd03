"""Two paths side by side: the reconstruction tells what the model would do to an unedited picture.

Both paths draw with the same Gumbel noise, so they differ only where their logits do. Three numbers
per token are kept of the two distributions; the distributions themselves are never stored.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import ERecConfig
from jaxedit.ops.divergence import jensen_shannon, negative_log_likelihood
from jaxedit.sampling.gumbel import choose, gumbel
from jaxedit.sampling.sample_editar import Sampling, is_guided
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

    path: whose token a row takes, 0 = reconstruction, 1 = editing.
    rec, edit: rows whose logits a path is guided by, the conditional one first.
    """

    path: tuple[int, ...]
    rec: tuple[int, ...]
    edit: tuple[int, ...]

    @property
    def texts(self) -> tuple[int | None, ...]:
        """The instruction of each row: 0 to reconstruct, 1 to edit, None is none."""
        return (0, 1) + (None,) * (len(self.path) - 2)


def layout(recon_guidance: str, guidance_rows: int) -> Layout:
    """Rows of a picture: [cond_rec, cond_edit, null_rec, null_edit], or without null_rec.

    Args:
      recon_guidance: of the reconstruction: its "own" null rows, the edit's ("shared") or "none".
      guidance_rows: of one path: 1 without guidance, 2, or 3 (dual: two kinds of null rows).
    """
    if recon_guidance == "own":
        rows = tuple(range(2 * guidance_rows))
        return Layout(tuple(r % 2 for r in rows), rows[::2], rows[1::2])
    null = tuple(range(2, 1 + guidance_rows))
    rec = (0, *null) if recon_guidance == "shared" else (0,)
    return Layout((0, 1) + (1,) * len(null), rec, (1, *null))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Policy:
    """Each path draws its own token; both with the same noise.

    Attributes:
      seeds: i32[B], one per picture.
      source: i32[B,N], tokens of the source pictures.
      sampling: how tokens are drawn.
      tau_replace: f32[], bits; of direct replacement.
      rows: the layout of a picture's rows.
      config: of ERec; its thresholds are not read.
      greedy: take the likeliest token, without noise.
    """

    seeds: jax.Array
    source: jax.Array
    sampling: Sampling
    tau_replace: jax.Array
    rows: Layout = dataclasses.field(metadata={"static": True})
    config: ERecConfig = dataclasses.field(metadata={"static": True})
    greedy: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(self, logits: jax.Array, position: jax.Array) -> tuple[jax.Array, Step]:
        """Choose tokens i32[B,R] from logits f32[B,R,V]; the record is the `Step`."""
        s = self.sampling
        guide = (s.guidance, s.image_guidance, is_guided(position, s.guidance_until))
        paths = [logits[:, list(rows)] for rows in (self.rows.rec, self.rows.edit)]
        guided = jnp.stack([guide_tokens(path, *guide) for path in paths], axis=1)  # [B,2,V]
        noise = jnp.zeros_like(guided)
        if not self.greedy:
            noise = path_noise(self.seeds, position, logits.shape[-1], self.config)
        step = token_step(
            logits[:, :2] / s.temperature,
            guided / s.temperature,
            noise,
            jax.lax.dynamic_index_in_dim(self.source, position, axis=1, keepdims=False),
            top_k=s.top_k,
            top_p=s.top_p,
            tau_replace=self.tau_replace,
            config=self.config,
        )
        return jnp.stack([(step.rec, step.edit)[path] for path in self.rows.path], axis=1), step


def path_noise(seeds: jax.Array, position: jax.Array, codes: int, config: ERecConfig) -> jax.Array:
    """Gumbel noise of both paths at one position.

    The editing path always has the noise that editing alone would have.

    Args:
      seeds: i32[B], one per picture.
      position: i32[].
      codes: V.
      config: whether paths share the noise, and whether pictures do (that of the first seed).

    Returns:
      f32[B,2,V].
    """
    if config.gumbel_key == "batch":
        seeds = jnp.broadcast_to(seeds[:1], seeds.shape)
    edit = gumbel(seeds, 0, position, codes)
    rec = edit if config.noise == "shared" else gumbel(seeds, 1, position, codes)
    return jnp.stack([rec, edit], axis=1)


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
      noise: f32[B,2,V]; zeros take the likeliest token.
      source: i32[B], the source's token here.
      top_k: i32[], candidates, chosen before the noise.
      top_p: f32[], of the candidates.
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
