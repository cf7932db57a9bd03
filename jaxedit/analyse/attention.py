"""The attention scores between the scales of VAREdit, averaged over samples.

Source: VAREdit (ICLR 2026 submission), section 3.2.2, figures 3 and 11.
"""

import argparse
import contextlib
import functools
import io
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, UInt8
from PIL import Image

from jaxedit import tree
from jaxedit.analyse.heatmaps import draw_heatmaps
from jaxedit.atomic_write import atomic_write
from jaxedit.config import PretrainedConfig, VAREditConfig, require
from jaxedit.config.families import sizes_of
from jaxedit.console import DONE
from jaxedit.data.pictures import photo
from jaxedit.data.transforms import fit_of, to_square
from jaxedit.editor.command import Command
from jaxedit.editor.editor import Editor
from jaxedit.editor.pipeline import Batch
from jaxedit.evaluate.benchmarks.registry import BENCHMARKS
from jaxedit.evaluate.sample import Picture, Sample, content
from jaxedit.evaluate.tables.figures import new_figure, save
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import image, quantize
from jaxedit.progress import progress_bar
from jaxedit.sampling.sample_varedit import Rows, source_tokens

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Scores(NamedTuple):
    """Attention scores between the G scales of source and target, from a scale to a scale.

    Attributes:
      mean: of N samples; each row sums to 1.
      standard_error: of the mean.
    """

    mean: Float64[np.ndarray, "L G G"]
    standard_error: Float64[np.ndarray, "L G G"]


def analyse_attention(args: argparse.Namespace, command: Command) -> int:
    """Measure the attention of a model, and write heatmaps and numbers.

    Returns:
      The exit code.

    Raises:
      ValueError, OSError: an argument is wrong, a file is missing or damaged.
    """
    require(args.limit > 0, f"--limit={args.limit}: expected 1 or more")
    require(
        args.rows_per_device > 0, f"--rows_per_device={args.rows_per_device}: expected 1 or more"
    )
    require(not args.out.is_file(), f"--out={args.out}: expected a folder, found a file")
    config, _ = command.sampling()
    expected = "expected VAREdit, whose tokens are scales"
    require(isinstance(sizes_of(config), VAREditConfig), f"--model={args.model}: {expected}")
    layers = _checked(args.layers, config.varedit.depth)
    new_figure(1)  # is matplotlib here?
    with _open_samples(args.data, args.limit) as samples:
        editor = command.load(rows_per_device=args.rows_per_device)
        scores = measure(editor, samples)
    title = f"{editor.name}, {len(samples)} samples"
    _write(args.out, scores, config.varedit, layers, title, len(samples))
    return DONE


def measure(editor: Editor, samples: Sequence[Sample]) -> Scores:
    """Measure the attention of a VAREdit model while it reads samples with their targets.

    A sample without a target is edited by the model first, with seed 0.

    Raises:
      ValueError, OSError: a picture or an instruction cannot be read.
    """
    for sample in samples:
        editor.check_text(sample.instruction)
    editor.text.prepare([sample.instruction for sample in samples])
    found = []
    with progress_bar("samples", len(samples)) as bar:
        for start in range(0, len(samples), editor.rows):
            part = list(samples[start : start + editor.rows])
            filled = part + part[-1:] * (editor.rows - len(part))
            found.append(np.asarray(_measure(editor, filled))[:, : len(part)])
            bar.update(len(part))
    scores = np.concatenate(found, axis=1).astype(np.float64)  # [L,N,G,G]
    spread = scores.std(1, ddof=1) if len(samples) > 1 else np.full_like(scores[:, 0], np.nan)
    return Scores(scores.mean(1), spread / len(samples) ** 0.5)


def measure_edit(
    editor: Editor, source: Image.Image, instruction: str, edit: Image.Image
) -> Float64[np.ndarray, "L G G"]:
    """Measure the attention of a VAREdit model while it reads a picture and an edit of it."""
    files = []
    for picture in (source, edit):
        file = io.BytesIO()
        picture.save(file, "png", compress_level=1)
        files.append(file.getvalue())
    sample = Sample("edit", files[0], instruction, target=files[1])
    return measure(editor, [sample]).mean


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def attention_scores(
    params: tree.Tree,
    rows: Rows,
    target: UInt8[Array, "B S S 3"],
    *,
    config: PretrainedConfig,
    dtype: str,
) -> Float32[Array, "L B G G"]:
    """Return the scores between scales, in the order of the sequence, of images with targets.

    Args:
      params: {"bsq": ..., "transformer": ...}.
      rows: source images and instructions.
      target: the edits, of whose bits each scale sees those before.
      config: the model.
      dtype: dtype of the matrix products in the transformer.
    """
    c, bsq = config.varedit, BSQTokenizer(config.bsq)
    source, raw = (
        bsq.apply({"params": params["bsq"]}, image.to_float(pixels), method="encode")
        for pixels in (rows.pixels, target)
    )
    _, found = VAREdit(c, dtype).apply(
        {"params": params["transformer"]},
        rows.text,
        rows.mask,
        jnp.zeros(len(target), bool),
        source_tokens(source, c),
        quantize.encode_labels(raw, c.latent_scales, patchify=c.patchify).inputs,
        scales=c.scales,
        rope_scales=c.rope_scales,
        measure=True,
        mutable=["intermediates"],
    )
    return found["intermediates"]["attention_scores"][0]


def draw_scores(
    scores: Float64[np.ndarray, "L G G"],
    config: VAREditConfig,
    title: str,
    layers: Sequence[int] | None = None,
) -> "Figure":
    """Draw a heatmap for each layer, or for some: from the target's scales to all scales.

    Raises:
      ConfigError: matplotlib is not installed.
    """
    names, K = names_of(config), len(config.scales)
    layers = range(len(scores)) if layers is None else layers
    panels = {f"layer {layer}": scores[layer, -K:] for layer in layers}
    return draw_heatmaps(panels, names[-K:], names, title)


def names_of(config: VAREditConfig) -> list[str]:
    """Return the names of the scales in the order of the sequence, such as "source 4x4"."""
    grids = {"source": config.source_scales(config.scales), "target": config.scales}
    return [f"{name} {h}x{w}" for name, scales in grids.items() for h, w in scales]


def _measure(editor: Editor, samples: Sequence[Sample]) -> Float32[Array, "L B G G"]:
    """Measure B samples."""
    pixels = _squares(editor, samples, [sample.source for sample in samples])
    texts = [sample.instruction for sample in samples]
    seeds = np.zeros(len(samples), np.int32)
    if all(sample.target is not None for sample in samples):
        target = _squares(editor, samples, [sample.target for sample in samples])
    else:
        settings = editor.settings()
        editor.pipeline.compile(settings)
        whole = np.ones(pixels.shape[:3], bool)
        made = editor.pipeline.run(Batch(pixels, texts, seeds, whole), settings, None)
        target = np.stack([output.pixels for output in made])
    rows = Rows(pixels, *editor.text(texts), seeds)
    return attention_scores(editor.params, rows, target, config=editor.config, dtype=editor.dtype)


def _squares(
    editor: Editor, samples: Sequence[Sample], pictures: Sequence[Picture]
) -> UInt8[np.ndarray, "B S S 3"]:
    """Return pictures of samples as the model reads them."""
    fit = fit_of(editor.config)
    decoded = [photo.decode(content(p), s.key) for p, s in zip(pictures, samples, strict=True)]
    return np.stack([np.asarray(to_square(picture, editor.size, fit)) for picture in decoded])


@contextlib.contextmanager
def _open_samples(data: str, limit: int) -> Iterator[Sequence[Sample]]:
    """Yield samples, evenly spaced, of a directory; or new toybox pairs.

    Raises:
      ConfigError: the directory has another layout than PIE-Bench or toybox pairs.
    """
    if data == "toybox":
        with tempfile.TemporaryDirectory() as folder:
            yield BENCHMARKS["toybox"](pathlib.Path(folder) / "toybox", count=limit).samples
        return
    kind = "toybox" if (pathlib.Path(data) / "toybox.json").is_file() else "pie-bench"
    samples = BENCHMARKS[kind](data).samples
    count = min(limit, len(samples))
    yield [samples[i * len(samples) // count] for i in range(count)]


def _checked(layers: Sequence[int] | None, depth: int) -> Sequence[int]:
    """Return the layers to draw; raise ConfigError if the model lacks a layer."""
    for layer in layers or ():
        require(0 <= layer < depth, f"--layers={layer}: expected 0 ... {depth - 1}")
    return layers or range(depth)


def _write(
    out: pathlib.Path,
    scores: Scores,
    config: VAREditConfig,
    layers: Sequence[int],
    title: str,
    samples: int,
) -> None:
    """Write the numbers of all layers, and heatmaps of some layers."""
    out.mkdir(parents=True, exist_ok=True)
    grids = (*config.source_scales(config.scales), *config.scales)
    with atomic_write(out / "attention.npz") as part, open(part, "wb") as file:
        tokens = [h * w for h, w in grids]
        names = names_of(config)
        np.savez(file, **scores._asdict(), scales=names, tokens=tokens, samples=samples)
    save(draw_scores(scores.mean, config, title, layers), out / "attention.png")
    print(f"{out}: attention.npz, attention.png")
