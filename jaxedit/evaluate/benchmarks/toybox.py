"""Held-out toybox pairs in PIE-Bench's own layout, with the truth about each pair.

mapping_file.json  annotation_images/0_random_2/000000000000.png ...
targets/0_random_2/000000000000.png ...  toybox.json
"""

import dataclasses
import difflib
import json
import pathlib

import numpy as np
from jaxtyping import Bool
from PIL import Image

from jaxedit.atomic_write import atomic_write_directory
from jaxedit.config import require
from jaxedit.data import toybox
from jaxedit.data.toybox import ToyPair
from jaxedit.data.toybox.language import caption
from jaxedit.evaluate.benchmarks import layout, pie_bench
from jaxedit.evaluate.sample import Benchmark

_TRUTH = "toybox.json"  # seed, level and number of pairs
_TYPES = len(toybox.EDIT_TYPES)


def read_toybox(
    directory: pathlib.Path, count: int = 100, seed: int = 0, level: int = 0
) -> Benchmark:
    """Read toybox pairs; see `registry.Reader`.

    Args:
      count, seed, level: what is written first if the directory does not exist; see
        `write_toybox`.
    """
    if not directory.exists():
        write_toybox(directory, count, seed, level)
    truth = _truth(directory)
    side = _pair(truth, 0).source.shape[0]
    targets = directory / "targets"
    samples = tuple(
        dataclasses.replace(sample, target=targets / f"{sample.key}.png")
        for sample in pie_bench.read_samples(directory, side)
    )
    layout.require_pictures([sample.target for sample in samples])
    return Benchmark(
        name="toybox",
        samples=samples,
        scores=pie_bench.SCORES,
        judge="toy",
        find_edit=pie_bench.find_edit,
    )


def write_toybox(directory: pathlib.Path, count: int, seed: int, level: int = 0) -> None:
    """Write pairs that training never sees, of all edit types in turn.

    Args:
      directory: must not exist.
      level: 0, which the bundled models know, or another level of `toybox.make`.

    Raises:
      ConfigError: the directory exists, or there would be no pair.
      OSError: the disk is full.
    """
    require(not directory.exists(), f"{directory}: exists: expected a new directory")
    require(count > 0, f"--option=count={count}: expected at least 1")
    last = len(toybox.LEVELS) - 1
    require(level in range(last + 1), f"--option=level={level}: expected 0 ... {last}")
    truth = {"seed": seed, "level": level, "count": count}
    try:
        with atomic_write_directory(directory) as new:
            items = {f"{i:012d}": _write(new, i, truth) for i in range(count)}
            for name, values in (("mapping_file.json", items), (_TRUTH, truth)):
                (new / name).write_text(json.dumps(values, indent=1), encoding="utf-8")
    except OSError as error:
        raise OSError(f"{directory}: not written: {error.strerror or error}") from error


def encode_mask(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """Return start and length of each run of True pixels; see `pie_bench.decode_mask`."""
    ends = np.flatnonzero(np.diff(mask.reshape(-1), prepend=False, append=False))
    return np.stack([ends[::2], ends[1::2] - ends[::2]], 1).reshape(-1).tolist()


def mark_changes(before: str, after: str) -> tuple[str, str]:
    """Return both captions with brackets around the words that differ."""
    words = before.split(), after.split()
    marked: tuple[list[str], list[str]] = ([], [])
    for operation, *bounds in difflib.SequenceMatcher(None, *words, False).get_opcodes():
        for i in range(2):
            part = " ".join(words[i][bounds[2 * i] : bounds[2 * i + 1]])
            marked[i].append(part if operation == "equal" or not part else f"[{part}]")
    return tuple(" ".join(filter(None, parts)) for parts in marked)


def _write(directory: pathlib.Path, index: int, truth: dict[str, int]) -> dict[str, object]:
    """Write the pictures of a pair; return its item of the mapping file."""
    pair = _pair(truth, index)
    level = toybox.LEVELS[pair.level]
    count = len(range(pair.edit_type, truth["count"], _TYPES))
    word = toybox.EDIT_TYPES[pair.edit_type].replace(" ", "_")
    name = f"{pair.edit_type}_{word}_{count}/{index:012d}.png"
    for folder, pixels in (("annotation_images", pair.source), ("targets", pair.target)):
        path = directory / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    prompts = mark_changes(caption(pair.scene, level), caption(pair.target_scene, level))
    return {
        "image_path": name,
        "original_prompt": prompts[0],
        "editing_prompt": prompts[1],
        "editing_instruction": pair.instruction,
        "editing_type_id": str(pair.edit_type),
        "blended_word": "",
        "mask": encode_mask(pair.mask),
    }


def _truth(directory: pathlib.Path) -> dict[str, int]:
    truth = layout.read_items(
        layout.find(directory, (_TRUTH,), "pairs as --benchmark=toybox writes")
    )
    keys = {"seed", "level", "count"}
    is_whole = set(truth) == keys and all(isinstance(truth[key], int) for key in keys)
    is_known = is_whole and truth["level"] in range(len(toybox.LEVELS))
    require(is_known, f"{directory / _TRUTH}: expected the numbers seed, level and count")
    return truth


def _pair(truth: dict[str, int], index: int) -> ToyPair:
    return toybox.make(truth["seed"], index, truth["level"], split="test", edit_type=index % _TYPES)
