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
from jaxedit.evaluate.results import Results
from jaxedit.evaluate.sample import Benchmark, Sample, content
from jaxedit.evaluate.scores.score import Edit, Score, SetScore
from jaxedit.progress import progress_bar

log = logging.getLogger(__name__)

TOGETHER = 16  # edits whose pictures are in memory at once
Networks = Mapping[str, Any]  # by name; None for scores without a network
Paths = Mapping[str, pathlib.Path]  # key of a sample -> its edit


def score_samples(
    benchmark: Benchmark,
    paths: Paths,
    results: Results,
    scores: Sequence[Score],
    networks: Networks,
) -> None:
    """Compute the scores that the edits do not have yet.

    Args:
      paths: of the samples to score.

    Raises:
      ValueError, OSError: a picture cannot be read, or the results cannot be written.
    """
    samples = [sample for sample in benchmark.samples if sample.key in paths]
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    with pool, progress_bar("scores", len(samples)) as bar:
        for start in range(0, len(samples), TOGETHER):
            part = samples[start : start + TOGETHER]
            _score(benchmark, part, paths, results, scores, networks, pool)
            bar.update(len(part))


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
      ValueError, OSError: a picture cannot be read.
    """
    source = photo.decode(content(sample.source), sample.key)
    target = sample.target and photo.decode(content(sample.target), sample.key)
    height, width = benchmark.size or (target or source).size[::-1]
    edited = photo.read(path)
    if benchmark.crop_edit is not None:
        edited = benchmark.crop_edit(edited)
    if edited.size != (width, height):
        log.info("%s: %dx%d, resized to %dx%d", path, *edited.size, width, height)
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
) -> None:
    """Score a few edits, and write their rows."""
    digests = {s.key: hashlib.sha256(paths[s.key].read_bytes()).hexdigest() for s in samples}
    known = {key: dict(results.scores_of(key, digest)) for key, digest in digests.items()}
    todo = [
        sample
        for sample in samples
        if any(
            score.name not in known[sample.key] and is_defined(score, sample) for score in scores
        )
    ]
    edits = list(pool.map(lambda s: read_edit(benchmark, s, paths[s.key]), todo))
    for score in scores:
        able = [
            edit
            for edit in edits
            if score.name not in known[edit.sample.key] and is_defined(score, edit.sample)
        ]
        for edit, value in zip(able, _compute(score, able, networks, pool), strict=True):
            known[edit.sample.key][score.name] = float(value)
    for sample in todo:
        results.add(
            {
                "key": sample.key,
                "type": sample.type,
                "edit": str(paths[sample.key]),
                "edit_sha256": digests[sample.key],
                "scores": known[sample.key],
            }
        )


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
