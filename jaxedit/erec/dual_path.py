"""Decoding on two paths: the edit, and a reconstruction of the source by the same model.

Both paths draw with the same Gumbel noise, so that they differ only where their logits differ. For
each token, three numbers that compare the two distributions are recorded; the distributions
themselves are not stored.

    source = sample_editar.read_source(networks, pixels, ...)       # once per picture
    paths = decode(networks, source, text, mask, seeds, ...)        # once per instruction
    refined = restore.refine(networks.vq, pixels, source.codes, paths, ...)  # once per thresholds
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Int32, Integer

from jaxedit.config import ERecConfig, PretrainedConfig, TokenSampleConfig
from jaxedit.erec.edit_mask import Maps, split
from jaxedit.ops.divergence import jensen_shannon, negative_log_likelihood
from jaxedit.sampling import sample_editar
from jaxedit.sampling.gumbel import choose, gumbel
from jaxedit.sampling.lock import LockedTokens
from jaxedit.sampling.methods import Numbers, guide_tokens, is_guided, numbers_of, truncate
from jaxedit.sampling.sample_editar import EncodedSource, Networks
from jaxedit.sampling.token_loop import slots_for


class Paths(NamedTuple):
    """The tokens of both paths, reconstruction and edit, and the maps that compare them."""

    rec: Int32[Array, "B N"]
    edit: Int32[Array, "B N"]
    maps: Maps


def decode(
    networks: Networks,
    source: EncodedSource,
    text: Float[ArrayLike, "B 2 T Ct"],
    mask: Bool[ArrayLike, "B 2 T"],
    seeds: Integer[ArrayLike, " B"],
    *,
    sample: TokenSampleConfig,
    erec: ERecConfig,
    config: PretrainedConfig,
    segment: int,
    editable: Bool[Array, "B N"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Paths:
    """Decode the reconstruction and the edit of B images as rows of a batch.

    Args:
      networks: see `sample_editar.prepare`.
      source: the encoded source images.
      text: features of the reconstruction prompt and of each instruction.
      mask: True at tokens.
      seeds: random seed of each image.
      sample: how tokens are drawn.
      erec: settings of the paths; of its thresholds only tau_replace is used.
      config: the model.
      segment: tokens between two calls of `progress`.
      editable: True at tokens that may differ from the source's, on both paths; None: all.
      progress: called with (tokens done, tokens in total).

    Returns:
      Both paths. The editing path equals EditAR's edit with the same seed, unless tokens are
      replaced.

    Source: ERec, algorithm 1, steps 1 to 3.
    """
    thresholds, erec = split(erec)
    weights, c, prefix = networks.weights, config.editar, source.prefix
    rows = layout(erec.recon_guidance, len(sample_editar.text_rows(sample)))
    if sample.guidance_mode != "text" and len(rows.edit) > 1:
        # The last null row of each path has no source image either.
        without = 2 if erec.recon_guidance == "own" else 1
        prefix = sample_editar.drop_image(weights, prefix, rows=without, config=c)
    window = sample_editar.window_of(sample)
    slots = slots_for(segment, window)
    state = sample_editar.begin(weights, prefix, text, mask, rows=rows.texts, slots=slots, config=c)
    numbers, tau = numbers_of(sample), thresholds.tau_replace
    method = DualPathSampling(seeds, source.codes, numbers, tau, rows, erec, sample.greedy)
    if editable is not None:
        method = LockedTokens(method, source.codes, editable)
    options = {"config": c, "segment": segment, "window": window, "progress": progress}
    tokens, records, _ = sample_editar.generate(
        weights, prefix, state, method, source.codes, **options
    )
    maps = Maps(*(m.reshape(-1, c.grid, c.grid) for m in records))
    return Paths(tokens[:, 0], tokens[:, 1], maps)


class Step(NamedTuple):
    """The tokens of a position, and its divergence and likelihoods.

    Attributes:
      rec, edit: tokens of both paths.
      js: Jensen-Shannon divergence of the two distributions, in bits.
      nll_rec, nll_edit: negative log-likelihood of the source's token on each path, in nats.
    """

    rec: Int32[Array, " B"]
    edit: Int32[Array, " B"]
    js: Float32[Array, " B"]
    nll_rec: Float32[Array, " B"]
    nll_edit: Float32[Array, " B"]


class Layout(NamedTuple):
    """The assignment of an image's rows to the two paths.

    Attributes:
      path: for each row the path whose token it takes, 0 = reconstruction, 1 = editing.
      rec, edit: rows whose logits guidance combines on each path, the conditional row first.
    """

    path: tuple[int, ...]
    rec: tuple[int, ...]
    edit: tuple[int, ...]

    @property
    def texts(self) -> tuple[int | None, ...]:
        """Return the instruction of each row: 0 to reconstruct, 1 to edit, None for none."""
        return (0, 1) + (None,) * (len(self.path) - 2)

    @property
    def dropped(self) -> tuple[bool, ...]:
        """Return whether each row has no instruction."""
        return tuple(text is None for text in self.texts)


def layout(recon_guidance: str, guidance_rows: int) -> Layout:
    """Lay out an image's rows: [cond_rec, cond_edit, null_rec, null_edit], or without null_rec.

    Args:
      recon_guidance: null rows that guide the reconstruction: its "own", the edit's ("shared"), or
        "none".
      guidance_rows: rows of a path: 1 without guidance, 2, or 3 (dual: two kinds of null rows).
    """
    if recon_guidance == "own":
        rows = tuple(range(2 * guidance_rows))
        return Layout(tuple(r % 2 for r in rows), rows[::2], rows[1::2])
    null = tuple(range(2, 1 + guidance_rows))
    rec = (0, *null) if recon_guidance == "shared" else (0,)
    return Layout((0, 1) + (1,) * len(null), rec, (1, *null))


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DualPathSampling:
    """A sampling method that draws a token on each path, both with the same noise.

    Attributes:
      seeds: random seed of each image.
      source: tokens of the source images.
      numbers: numbers of TokenSampleConfig.
      tau_replace: threshold of direct replacement, in bits.
      rows: the layout of an image's rows.
      config: settings of ERec; its thresholds are not used.
      greedy: take the most likely token, without noise.
    """

    seeds: Integer[Array, " B"]
    source: Int32[Array, "B N"]
    numbers: Numbers
    tau_replace: Float32[Array, ""]
    rows: Layout = dataclasses.field(metadata={"static": True})
    config: ERecConfig = dataclasses.field(metadata={"static": True})
    greedy: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(
        self, logits: Float[Array, "B R V"], position: Integer[Array, " B"]
    ) -> tuple[Int[Array, "B R"], tuple[Float32[Array, " B"], ...]]:
        """Choose tokens, see `SamplingMethod`; the record is js, nll_rec, nll_edit of a `Step`."""
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
            jnp.take_along_axis(self.source, position[:, None], axis=1, mode="clip")[:, 0],
            numbers=n,
            tau_replace=self.tau_replace,
            config=self.config,
        )
        tokens = jnp.stack([(step.rec, step.edit)[path] for path in self.rows.path], axis=1)
        return tokens, (step.js, step.nll_rec, step.nll_edit)


def path_noise(
    seeds: Integer[Array, " B"], position: Integer[Array, " B"], codes: int, config: ERecConfig
) -> Float32[Array, "B 2 {codes}"]:
    """Return the Gumbel noise of both paths at a position.

    The editing path always has the noise that an edit without a second path would have.

    Args:
      seeds: random seed of each image.
      position: of each image's token.
      codes: V.
      config: whether the paths share their noise, and whether all images take the first one's.
    """
    if config.gumbel_key == "batch":
        seeds = jnp.broadcast_to(seeds[:1], seeds.shape)
    edit = gumbel(seeds, 0, position, codes)
    rec = edit if config.noise == "shared" else gumbel(seeds, 1, position, codes)
    return jnp.stack([rec, edit], axis=1)


def token_step(
    cond: Float[ArrayLike, "B 2 V"],
    guided: Float[ArrayLike, "B 2 V"],
    noise: Float[ArrayLike, "B 2 V"],
    source: Int[ArrayLike, " B"],
    *,
    numbers: Numbers,
    tau_replace: Any,
    config: ERecConfig,
) -> Step:
    """Draw a token on each path, and measure how much the paths' distributions differ.

    Args:
      cond: conditional logits of reconstruction and editing, divided by the temperature.
      guided: the same after guidance.
      noise: Gumbel noise; zeros select the most likely token.
      source: the source's token at this position.
      numbers: numbers of the sampling rules, which remove candidates before noise is added.
      tau_replace: threshold of direct replacement, in bits.
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
