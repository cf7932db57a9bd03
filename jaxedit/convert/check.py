"""The check of a pretrained directory: its numbers, its settings, a picture by its tokenizer."""

import dataclasses
import hashlib
import math
import pathlib
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from jaxedit import assets, tree
from jaxedit.checkpoints import hub, pretrained
from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.config import SQUARE_SCALES, PretrainedConfig, Scales, family_of, sizes_of
from jaxedit.data.pictures import photo
from jaxedit.data.transforms import fit_of, to_square
from jaxedit.progress import progress_bar
from jaxedit.sampling.round_trip import reconstruct

SCENE = assets.ROOT / "scene.png"
ALONE = 16  # side of the latent grid for a tokenizer without an editor


class Statistics(NamedTuple):
    """The statistics of a network; lowest, highest, mean and std are of the finite values."""

    arrays: int
    parameters: int
    dtypes: tuple[str, ...]
    lowest: float
    highest: float
    mean: float
    std: float
    not_finite: tuple[str, ...]  # paths
    digest: str  # SHA-256 over path, dtype, shape and bytes of every array


class RoundTrip(NamedTuple):
    """A picture, its reconstruction by the image tokenizer, and their PSNR."""

    source: UInt8[np.ndarray, "S S 3"]
    reconstruction: UInt8[np.ndarray, "S S 3"]
    psnr: float  # dB


def check(
    directory: hub.Directory,
    *,
    picture: pathlib.Path = SCENE,
    output: pathlib.Path,
    say: Callable[[str], Any] = print,
) -> list[str]:
    """Read a whole pretrained directory, report its content and return its faults.

    Args:
      picture: reconstructed by the image tokenizer, if there is one.
      output: PNG to write: the picture and its reconstruction.
      say: takes each line of the report.

    Raises:
      ConfigError: the config cannot work, or the weights do not fit it.
      ValueError: a file is damaged.
      OSError: a file is missing, or `output` cannot be written.
    """
    config, stored = pretrained.open_pretrained(directory)
    for line in describe(config):
        say(line)
    networks = {name: of_network(stored, name) for name in family_of(config).networks}
    total = sum(array.nbytes for part in networks.values() for array in part.values())
    with progress_bar("reading", total, unit="B") as bar:
        found = {name: statistics(part, bar.update) for name, part in networks.items()}
    for line in table(found):
        say(line)
    digests = "".join(numbers.digest for numbers in found.values())
    say(f"digest {hashlib.sha256(digests.encode()).hexdigest()}")
    faults = [
        f"{name}: values that are not finite in {', '.join(numbers.not_finite)}"
        for name, numbers in found.items()
        if numbers.not_finite
    ]
    if not faults and tokenizer_of(config):
        trip = round_trip(config, stored, photo.read(picture))
        side_by_side(trip).save(output)
        say(f"{output}: {picture.name} and its reconstruction, PSNR {trip.psnr:.1f} dB")
    return faults


def describe(config: PretrainedConfig) -> Iterator[str]:
    """Yield the settings, part by part, in lines."""
    family = family_of(config)
    yield f"{config.model_type}: {', '.join(family.networks)}"
    for part in family.parts:
        settings = dataclasses.asdict(getattr(config, part))
        words = ", ".join(f"{name}={value}" for name, value in settings.items())
        yield from textwrap.wrap(
            f"{part:<12} {words}", 100, initial_indent="  ", subsequent_indent=" " * 15
        )


def table(found: Mapping[str, Statistics]) -> Iterator[str]:
    """Yield the statistics as the aligned rows of a table."""
    titles = ("network", "arrays", "parameters", "dtype", "min", "max", "mean", "std", "sha256")
    rows = [
        (
            name,
            str(n.arrays),
            f"{n.parameters:,}",
            "+".join(n.dtypes),
            *(f"{value:.4g}" for value in (n.lowest, n.highest, n.mean, n.std)),
            n.digest[:12],
        )
        for name, n in found.items()
    ]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        yield "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])


def of_network(stored: Mapping[str, LazyTensor], name: str) -> dict[str, LazyTensor]:
    """Return the arrays of one network by path, sorted."""
    return {path: stored[path] for path in sorted(stored) if path.split("/")[0] == name}


def statistics(stored: Mapping[str, LazyTensor], seen: Callable[[int], Any]) -> Statistics:
    """Read each array once, piece by piece; `seen` takes the bytes of each piece."""
    lowest, highest, total, squares, count = math.inf, -math.inf, 0.0, 0.0, 0
    not_finite, digest = [], hashlib.sha256()
    for path, array in stored.items():
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        is_finite = True
        for piece in array.chunks():
            digest.update(piece.reshape(-1).view(np.uint8).data)
            values = piece.astype(np.float32, copy=False)
            finite = np.isfinite(values)
            good = values if finite.all() else values[finite]
            is_finite &= good.size == values.size
            if good.size:
                lowest, highest = min(lowest, good.min()), max(highest, good.max())
                total += good.sum(dtype=np.float64)
                squares += np.square(good, dtype=np.float64).sum()
                count += good.size
            seen(piece.nbytes)
        if not is_finite:
            not_finite.append(path)
    mean = total / max(count, 1)
    return Statistics(
        arrays=len(stored),
        parameters=sum(array.size for array in stored.values()),
        dtypes=tuple(sorted({str(array.dtype) for array in stored.values()})),
        lowest=float(lowest),
        highest=float(highest),
        mean=mean,
        std=math.sqrt(max(squares / max(count, 1) - mean**2, 0)),
        not_finite=tuple(not_finite),
        digest=digest.hexdigest(),
    )


def tokenizer_of(config: PretrainedConfig) -> str | None:
    """Return the name of the image tokenizer's network, if the model has one."""
    return next((name for name in family_of(config).networks if name in ("bsq", "vq")), None)


def round_trip(
    config: PretrainedConfig, stored: Mapping[str, LazyTensor], picture: Image.Image
) -> RoundTrip:
    """Encode and decode a picture with the image tokenizer, in the model's size."""
    name = tokenizer_of(config)
    flat = {path: array[...] for path, array in of_network(stored, name).items()}
    params = tree.cast(tree.unflatten(flat)[name], "float32")
    scales = latent_scales(config)
    grid = scales[-1][0] if name == "bsq" else getattr(sizes_of(config), "grid", ALONE)
    size = grid * getattr(config, name).stride
    source = np.asarray(to_square(picture, size, fit_of(config)))
    options = {"config": config, "scales": scales if name == "bsq" else ()}
    drawn = np.asarray(reconstruct(params, source[None], **options))[0]
    error = np.mean((source.astype(np.float64) - drawn) ** 2)
    return RoundTrip(source, drawn, 10 * math.log10(255**2 / max(error, 1e-10)))


def latent_scales(config: PretrainedConfig) -> Scales:
    """Return the editor's schedule; for a tokenizer alone, square scales up to `ALONE`."""
    alone = tuple(size for size in SQUARE_SCALES if size[0] <= ALONE)
    return getattr(sizes_of(config), "latent_scales", alone)


def side_by_side(trip: RoundTrip) -> Image.Image:
    """Draw source and reconstruction beside each other, with captions."""
    side = max(len(trip.source), 256)  # small pictures are enlarged, so that pixels can be seen
    gap, line = side // 32, side // 12
    sheet = Image.new("RGB", (2 * side + 3 * gap, side + 3 * gap + line), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(line * 3 // 4)
    captions = ("source", f"reconstruction, {trip.psnr:.1f} dB")
    for i, (pixels, text) in enumerate(zip(trip[:2], captions, strict=True)):
        cell = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
        left = gap + i * (side + gap)
        sheet.paste(cell, (left, gap))
        draw.text((left, side + 2 * gap), text, fill="black", font=font)
    return sheet
