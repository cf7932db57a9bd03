"""The edits of a run with their scores, made now or kept from an earlier run."""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxedit.editor.command import Command
from jaxedit.evaluate import networks
from jaxedit.evaluate.edit_samples import edit_path, edit_samples, is_made_by, request_of
from jaxedit.evaluate.results import Results
from jaxedit.evaluate.sample import Benchmark, Sample
from jaxedit.evaluate.score_samples import score_samples
from jaxedit.evaluate.scores.predictions import Predictions
from jaxedit.evaluate.scores.score import Score, SetScore


class Scored(NamedTuple):
    """Edits with their scores.

    Attributes:
      paths: the edit of each sample that has one, by the sample's key.
      missing: why other samples have no edit, by their keys.
      networks: the networks of scores by name.
      absent: how to get the networks that are not there, by name.
    """

    paths: dict[str, pathlib.Path]
    missing: dict[str, str]
    results: Results
    networks: dict[str, Any]
    absent: dict[str, str]


def edit_and_score(
    args: argparse.Namespace,
    command: Command | None,
    benchmark: Benchmark,
    samples: Sequence[Sample],
    scores: Sequence[Score | SetScore],
) -> Scored:
    """Edit samples, or those of a shard, and compute what their edits' scores lack.

    Raises:
      ValueError, OSError: see `edit_samples` and `score_samples`.
    """
    if args.shard:
        samples = args.shard.of(samples)
    results = Results(args.out, args.shard)
    if command and not args.scores_only:
        edit_samples(command, samples, args.out / "edits")
    paths, missing = _find(args, command, benchmark, samples)
    loaded, absent = _load_networks(scores, args.predictions)
    each = [s for s in scores if isinstance(s, Score) and s.network not in absent]
    damaged = score_samples(benchmark, paths, results, each, loaded)
    paths = {key: path for key, path in paths.items() if key not in damaged}
    return Scored(paths, missing | damaged, results, loaded, absent)


def _find(
    args: argparse.Namespace,
    command: Command | None,
    benchmark: Benchmark,
    samples: Sequence[Sample],
) -> tuple[dict[str, pathlib.Path], dict[str, str]]:
    """Return the paths of edits, and why other samples have no edit, both by the samples' keys.

    Edits of another program are in its folder; ours must have been made by the same request.
    """
    search = (args.images and benchmark.find_edit) or edit_path
    folder, request = args.images or args.out / "edits", command and request_of(command)
    paths, missing = {}, {}
    for sample in samples:
        path = search(folder, sample)
        if path is None or not path.is_file():
            missing[sample.key] = "no such file"
        elif request and not is_made_by(request, path):
            missing[sample.key] = "made by another model, seed or options"
        else:
            paths[sample.key] = path
    return paths, missing


def _load_networks(
    scores: Sequence[Score | SetScore], predictions: pathlib.Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the networks of scores, and how to get those that are not there; both by name."""
    loaded, absent = {}, {}
    for name in dict.fromkeys(score.network for score in scores if score.network):
        if name in networks.NETWORKS:
            try:
                loaded[name] = networks.load(name)
            except networks.MissingNetwork as error:
                absent[name] = str(error)
        elif predictions is None:
            absent[name] = f"{name} is predicted by other programs; give --predictions=DIR"
        else:
            loaded[name] = Predictions(predictions)
    for how in absent.values():
        print(how, file=sys.stderr)
    return loaded, absent
