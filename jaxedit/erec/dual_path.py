"""Two paths side by side: the reconstruction tells what the model would do to an unedited picture.

Both paths draw with the same Gumbel noise, so they differ only where their logits do. Three numbers
per token are kept of the two distributions; the distributions themselves are never stored.

    source = sample_editar.read_source(networks, pixels, ...)       # once per picture
    paths = decode(networks, source, text, mask, seeds, ...)        # once per instruction
    refined = restore.refine(networks.vq, pixels, source.codes, paths, ...)  # once per thresholds
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import ERecConfig, PretrainedConfig, TokenSampleConfig
from jaxedit.erec.edit_mask import Maps, split
from jaxedit.ops.divergence import jensen_shannon, negative_log_likelihood
from jaxedit.sampling import sample_editar
from jaxedit.sampling.gumbel import choose, gumbel
from jaxedit.sampling.methods import Numbers, guide_tokens, is_guided, numbers_of, truncate
from jaxedit.sampling.sample_editar import EncodedSource, Networks


class Paths(NamedTuple):
    """Both paths of B pictures: tokens rec and edit i32[B,N], and the maps f32[B,g,g]."""

    rec: Any
    edit: Any
    maps: Maps


def decode(
    networks: Networks,
    source: EncodedSource,
    text: jax.Array,
    mask: jax.Array,
    seeds: jax.Array,
    *,
    sample: TokenSampleConfig,
    erec: ERecConfig,
    config: PretrainedConfig,
    segment: int,
    progress: Callable[[int, int], None] | None = None,
) -> Paths:
    """Decode the reconstruction and the edit of B pictures as rows of one batch.

    Args:
      networks: see `editar.prepare`.
      source: B pictures.
      text: f32[B,2,T,Ct], features of the reconstruction prompt and of each instruction.
      mask: bool[B,2,T], True at tokens.
      seeds: i32[B].
      sample: how tokens are drawn.
      erec: what the paths share; of its numbers only tau_replace is read.
      config: the model.
      segment: tokens between two calls of `progress`.
      progress: called with (tokens done, tokens in all).

    Returns:
      `Paths`; the editing path is EditAR's edit with the same seed (unless tokens are replaced).

    Source: ERec, algorithm 1, steps 1 to 3.
    """
    thresholds, erec = split(erec)
    rows = layout(erec.recon_guidance, len(sample_editar.text_rows(sample)))
    prefix = source.prefix
    if sample.guidance_mode != "text" and len(rows.edit) > 1:  # the last null row of each path
        without = 2 if erec.recon_guidance == "own" else 1
        prefix = sample_editar.drop_image(
            networks.weights, prefix, rows=without, config=config.editar
        )
    state = sample_editar.begin(
        networks.weights,
        prefix,
        text,
        mask,
        rows=rows.texts,
        slots=segment + 1,
        config=config.editar,
    )
    method = DualPathSampling(
        seeds,
        source.codes,
        numbers_of(sample),
        thresholds.tau_replace,
        rows=rows,
        config=erec,
        greedy=sample.greedy,
    )
    _, steps = sample_editar.generate(
        networks.weights,
        prefix,
        state,
        method,
        config=config.editar,
        segment=segment,
        progress=progress,
    )
    rec, edit, *maps = (x.T for x in steps)  # [B,N]
    g = config.editar.grid
    return Paths(rec, edit, Maps(*(m.reshape(-1, g, g) for m in maps)))


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
class DualPathSampling:
    """Each path draws its own token; both with the same noise.

    Attributes:
      seeds: i32[B], one per picture.
      source: i32[B,N], tokens of the source pictures.
      numbers: of TokenSampleConfig.
      tau_replace: f32[], bits; of direct replacement.
      rows: the layout of a picture's rows.
      config: of ERec; its thresholds are not read.
      greedy: take the likeliest token, without noise.
    """

    seeds: jax.Array
    source: jax.Array
    numbers: Numbers
    tau_replace: jax.Array
    rows: Layout = dataclasses.field(metadata={"static": True})
    config: ERecConfig = dataclasses.field(metadata={"static": True})
    greedy: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(self, logits: jax.Array, position: jax.Array) -> tuple[jax.Array, Step]:
        """See `SamplingMethod`; the record is the `Step`."""
        n = self.numbers
        guide = (n["guidance"], n["image_guidance"], is_guided(position, n["guidance_until"]))
        paths = [logits[:, list(rows)] for rows in (self.rows.rec, self.rows.edit)]
        guided = jnp.stack([guide_tokens(path, *guide) for path in paths], axis=1)  # [B,2,V]
        noise = jnp.zeros_like(guided)
        if not self.greedy:
            noise = path_noise(self.seeds, position, logits.shape[-1], self.config)
        step = token_step(
            logits[:, :2] / n["temperature"],
            guided / n["temperature"],
            noise,
            jax.lax.dynamic_index_in_dim(self.source, position, axis=1, keepdims=False),
            numbers=n,
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
    numbers: Numbers,
    tau_replace: jax.Array,
    config: ERecConfig,
) -> Step:
    """Draw one token on each path and measure how far the paths are apart.

    Args:
      cond: f32[B,2,V], conditional logits of reconstruction and editing over the temperature.
      guided: f32[B,2,V], the same after guidance.
      noise: f32[B,2,V]; zeros take the likeliest token.
      source: i32[B], the source's token here.
      numbers: of the rules, which choose the candidates before the noise.
      tau_replace: f32[], bits; of direct replacement.
      config: which distributions are compared, and whether tokens are replaced.

    Source: ERec, equations 3, 4, 6 and algorithm 2.
    """
    candidates = truncate(guided, numbers)
    compared = {"guided": guided, "cond": cond, "truncated": candidates}[config.probabilities]
    log_p = jax.nn.log_softmax(compared)  # [B,2,V]
    js = jensen_shannon(log_p[:, 0], log_p[:, 1])
    nll = negative_log_likelihood(log_p, jnp.stack([source, source], axis=1))  # [B,2]
    rec, edit = choose(candidates, noise).T
    if config.direct_replacement:
        edit = jnp.where(js < tau_replace, source, edit)
    return Step(rec, edit, js, nll[:, 0], nll[:, 1])
