"""PIE-Bench: 700 edits of 512 px pictures in ten types, with masks.

    mapping_file.json
    annotation_images/0_random_140/000000000000.jpg
    annotation_images/1_change_object_80/1_artificial/1_animal/111000000000.jpg

Source: Ju et al. 2024, "Direct Inversion"; cure-lab/PnPInversion.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from jaxedit.config import ConfigError, require
from jaxedit.evaluate.benchmarks import layout
from jaxedit.evaluate.sample import Benchmark, Sample

SIDE = 512  # pixels
# The types 0 ... 9, as tables call them
TYPES = (
    "random",
    "modify",
    "add",
    "remove",
    "attribute",
    "pose",
    "color",
    "material",
    "background",
    "style",
)
SCORES = (
    "structure_distance",
    "psnr_background",
    "lpips_background",
    "mse_background",
    "ssim_background",
    "clip_source",
    "clip_whole",
    "clip_edited",
)
_FIELDS = (
    "image_path",
    "editing_instruction",
    "editing_type_id",
    "original_prompt",
    "editing_prompt",
)


def read_pie_bench(directory: pathlib.Path) -> Benchmark:
    """Read PIE-Bench; see `registry.Reader`."""
    return Benchmark(
        name="pie-bench",
        samples=read_samples(directory, SIDE),
        scores=SCORES,
        judge="varedit",
        size=(SIDE, SIDE),
        find_edit=find_edit,
        crop_edit=crop_collage,
    )


def read_samples(directory: pathlib.Path, side: int) -> tuple[Sample, ...]:
    """Read edits in PIE-Bench's layout, of pictures with `side` pixels in width and height.

    Raises:
      ConfigError: a file is missing, or an item is not an edit.
    """
    what = "the mapping file of PIE-Bench"
    mapping = layout.find(directory, ("mapping_file.json", "data/mapping_file.json"), what)
    items = layout.read_items(mapping)
    pictures = mapping.parent / "annotation_images"
    samples = tuple(_sample(mapping, pictures, key, item, side) for key, item in items.items())
    layout.require_pictures([sample.source for sample in samples])
    return samples


def decode_mask(runs: Sequence[int], shape: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Return a mask, True where the source is to be edited and on the outermost pixels.

    Args:
      runs: start and length of each run of edited pixels, counted row by row; what lies beyond the
        end is ignored.
      shape: (H, W).

    Raises:
      ValueError: the last run has no length, or a start is negative.
    """
    if len(runs) % 2 or min(runs[::2], default=0) < 0:
        raise ValueError(f"{len(runs)} numbers: expected pairs of a start and a length")
    mask = np.zeros(shape, bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        mask.reshape(-1)[start : start + max(length, 0)] = True
    mask[[0, -1]] = mask[:, [0, -1]] = True
    return mask


def find_edit(folder: pathlib.Path, sample: Sample) -> pathlib.Path | None:
    """Return the edit in a folder that has the layout of the sources, or None."""
    for base in (folder / "annotation_images", folder):
        for ending in (".png", ".jpg"):
            if (path := base / f"{sample.key}{ending}").is_file():
                return path
    return None


def crop_collage(image: Image.Image) -> Image.Image:
    """Return the last of the tiles that methods save beside their edit, or a square as it is."""
    width, height = image.size
    if width == height or min(width, height) < SIDE:
        return image
    return image.crop((width - SIDE, height - SIDE, width, height))


def _sample(
    mapping: pathlib.Path, pictures: pathlib.Path, key: str, item: Any, side: int
) -> Sample:
    path, instruction, kind, *prompts = layout.texts(mapping, key, item, _FIELDS)
    require(
        kind in map(str, range(len(TYPES))),
        f"{mapping}: item {key}: editing_type_id={kind!r}: expected 0 ... {len(TYPES) - 1}",
    )
    try:
        mask = decode_mask(item.get("mask"), (side, side))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{mapping}: item {key}: expected a mask of runs: {error}") from error
    source_prompt, target_prompt = (prompt.replace("[", "").replace("]", "") for prompt in prompts)
    return Sample(
        key=path.rpartition(".")[0],
        source=pictures / path,
        instruction=instruction,
        type=TYPES[int(kind)],
        source_prompt=source_prompt,
        target_prompt=target_prompt,
        mask=mask,
    )
