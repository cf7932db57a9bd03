"""The scores of edits; each picture is decoded once, each score kept as soon as it is known."""

import concurrent.futures
import hashlib
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxedit.data.pictures import photo
from jaxedit.evaluate.results import Results, Row
from jaxedit.evaluate.sample import Benchmark, Sample, content
from jaxedit.evaluate.scores.score import Edit, Score, SetScore
from jaxedit.progress import progress_bar
from jaxedit.warn_once import warn_once

log = logging.getLogger(__name__)

TOGETHER = 16  # edits whose pictures are in memory at once
Networks = Mapping[str, Any]  # by name; None for scores without a network
Paths = Mapping[str, pathlib.Path]  # key of a sample -> its edit


class DamagedEdit(ValueError):
    """An edit that cannot be decoded; the message names its file."""


def score_samples(
    benchmark: Benchmark,
    paths: Paths,
    results: Results,
    scores: Sequence[Score],
    networks: Networks,
) -> dict[str, str]:
    """Compute the scores that the edits do not have yet; every edit is decoded once.

    Args:
      paths: of the samples to score.

    Returns:
      Why edits are damaged, by the key of their sample; they have no scores.

    Raises:
      ValueError, OSError: a picture of the benchmark cannot be read, or the results cannot be
        written.
    """
    damaged: dict[str, str] = {}
    samples = [sample for sample in benchmark.samples if sample.key in paths]
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    with pool, progress_bar("scores", len(samples)) as bar:
        for start in range(0, len(samples), TOGETHER):
            part = samples[start : start + TOGETHER]
            damaged |= _score(benchmark, part, paths, results, scores, networks, pool)
            bar.update(len(part))
    return damaged


def score_sets(
    benchmark: Benchmark,
    paths: Paths,
    scores: Sequence[SetScore],
    networks: Networks,
) -> dict[str, float]:
    """Return the scores that are one number for all edits together, by name."""
    samples = [sample for sample in benchmark.samples if sample.key in paths]
    found: dict[str, list[np.ndarray]] = {score.name: [] for score in scores}
    with progress_bar("scores of all edits", len(samples)) as bar:
        for start in range(0, len(samples), TOGETHER):
            edits = [
                read_edit(benchmark, s, paths[s.key]) for s in samples[start : start + TOGETHER]
            ]
            for score in scores:
                network = networks.get(score.network)
                able = [edit for edit in edits if is_defined(score, edit.sample)]
                found[score.name] += score.features(able, network) if able else []
            bar.update(len(edits))
    return {
        score.name: float(score.reduce(np.stack(found[score.name])))
        for score in scores
        if found[score.name]
    }


def is_defined(score: Score | SetScore, sample: Sample) -> bool:
    """Tell whether a sample has all that a score needs."""
    values = (getattr(sample, name) for name in score.needs)
    return not any(value is None or isinstance(value, str) and not value for value in values)


def read_edit(benchmark: Benchmark, sample: Sample, path: pathlib.Path) -> Edit:
    """Decode the pictures of a sample and its edit, all at the size at which they are compared.

    Raises:
      DamagedEdit: the edit cannot be read.
      ValueError, OSError: another picture cannot be read.
    """
    source = photo.decode(content(sample.source), f"source of {sample.key}")
    target = sample.target and photo.decode(content(sample.target), f"target of {sample.key}")
    height, width = benchmark.size or (target or source).size[::-1]
    try:
        edited = photo.read(path)
    except (ValueError, OSError) as error:
        raise DamagedEdit(str(error)) from error
    if benchmark.crop_edit is not None:
        edited = benchmark.crop_edit(edited)
    if edited.size != (width, height):
        warn_once(log, "edits of %dx%d pixels are resized to %dx%d", *edited.size, width, height)
    return Edit(
        sample=sample,
        source=_resized(source, width, height),
        edited=_resized(edited, width, height),
        target=target and _resized(target, width, height),
        mask=_resized_mask(sample, width, height),
    )


def _score(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    paths: Paths,
    results: Results,
    scores: Sequence[Score],
    networks: Networks,
    pool: concurrent.futures.Executor,
) -> dict[str, str]:
    """Score a few edits, and write their rows; return which edits are damaged, and why."""
    unscored = pool.map(lambda sample: _unscored(sample, paths[sample.key]), samples)
    rows = {row["key"]: row for row in unscored}
    kept = {key: results.scores_of(row) for key, row in rows.items()}
    for key, row in rows.items():
        row["scores"] = dict(kept[key] or {})
    todo = [
        sample
        for sample in samples
        if kept[sample.key] is None or any(_lacks(score, rows, sample) for score in scores)
    ]
    read = list(pool.map(lambda s: _edit_or_damage(benchmark, s, paths[s.key]), todo))
    edits = [edit for edit in read if isinstance(edit, Edit)]
    for score in scores:
        able = [edit for edit in edits if _lacks(score, rows, edit.sample)]
        for edit, value in zip(able, _compute(score, able, networks, pool), strict=True):
            rows[edit.sample.key]["scores"][score.name] = float(value)
    for edit in edits:
        results.add(rows[edit.sample.key])
    pairs = zip(todo, read, strict=True)
    return {sample.key: str(found) for sample, found in pairs if isinstance(found, DamagedEdit)}


def _unscored(sample: Sample, path: pathlib.Path) -> Row:
    """Return the row of an edit, with hashes of all that is compared."""
    pictures = [content(p) for p in (sample.source, sample.target, sample.labels) if p is not None]
    mask = b"" if sample.mask is None else np.packbits(sample.mask).tobytes()
    parts = [*pictures, mask, f"{sample.source_prompt}\n{sample.target_prompt}".encode()]
    whole = "".join(hashlib.sha256(part).hexdigest() for part in parts)
    return {
        "key": sample.key,
        "type": sample.type,
        "edit": str(path),
        "edit_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "sample_sha256": hashlib.sha256(whole.encode()).hexdigest(),
        "scores": {},
    }


def _lacks(score: Score, rows: Mapping[str, Row], sample: Sample) -> bool:
    return score.name not in rows[sample.key]["scores"] and is_defined(score, sample)


def _edit_or_damage(benchmark: Benchmark, sample: Sample, path: pathlib.Path) -> Edit | DamagedEdit:
    try:
        return read_edit(benchmark, sample, path)
    except DamagedEdit as error:
        return error


def _compute(
    score: Score,
    edits: Sequence[Edit],
    networks: Networks,
    pool: concurrent.futures.Executor,
) -> Iterator[float]:
    """Yield the score of each edit; a network takes pictures of one size together."""
    if not score.network:
        yield from pool.map(lambda edit: score.compute([edit], None)[0], edits)
        return
    start = 0
    while start < len(edits):
        shape = edits[start].source.shape
        same = next(
            (i for i in range(start, len(edits)) if edits[i].source.shape != shape), len(edits)
        )
        yield from score.compute(edits[start:same], networks[score.network])
        start = same


def _resized(image: Image.Image, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _resized_mask(sample: Sample, width: int, height: int) -> np.ndarray | None:
    if sample.mask is None or sample.mask.shape == (height, width):
        return sample.mask
    image = Image.fromarray(sample.mask).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(image)
