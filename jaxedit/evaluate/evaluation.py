"""A run of an evaluation: edits, scores, judge, summary and reports, one after another."""

import argparse
import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit import __version__
from jaxedit.atomic_write import atomic_write
from jaxedit.config import require
from jaxedit.console import DONE
from jaxedit.editor.command import Command
from jaxedit.engines.engine import run_jobs
from jaxedit.engines.options import Shard, ShardConfig, shard_config
from jaxedit.evaluate import judging, networks
from jaxedit.evaluate.benchmarks.registry import BENCHMARKS
from jaxedit.evaluate.edit_samples import edit_path, edit_samples, seconds_of, settings_of
from jaxedit.evaluate.page import page, sample_of
from jaxedit.evaluate.report import report, write_csv
from jaxedit.evaluate.results import Results, Row, as_json
from jaxedit.evaluate.sample import Benchmark, Sample
from jaxedit.evaluate.score_samples import is_defined, read_edit, score_samples, score_sets
from jaxedit.evaluate.scores.predictions import Predictions
from jaxedit.evaluate.scores.registry import SCORES
from jaxedit.evaluate.scores.score import Score, SetScore
from jaxedit.evaluate.summary import summarise, summarise_types
from jaxedit.file_lock import locked
from jaxedit.progress import progress_bar

INCOMPLETE = 1  # exit code
Missing = Mapping[str, str]  # name of a network or a score -> why it is not there


def evaluate(args: argparse.Namespace, command: Command | None, key: str) -> int:
    """Do what the arguments ask for.

    Args:
      command: edits; None to score the pictures of another program.
      key: of the judge's server.

    Returns:
      The exit code.

    Raises:
      ValueError, OSError: an argument is wrong, a file is missing or damaged.
    """
    config = shard_config(args)
    benchmark = BENCHMARKS[args.benchmark](args.data, **_options(args.option))
    require(
        args.model is None or benchmark.is_editable,
        f"--model={args.model}: expected --images: the sources of these samples are edits",
    )
    scores = _scores(args.scores or benchmark.scores)
    samples = _chosen(benchmark, args.types, args.limit)
    if args.shard:
        edit_and_score(args, command, benchmark, samples, scores)
        print(f"{args.out}: shard {args.shard} is done")
        return DONE
    judge = judging.open_judge(args, benchmark, key)
    if config.is_divided:
        shards = [Shard(i, config.workers) for i in range(config.workers)]
        jobs = [Job(args, command, shard) for shard in shards]
        with progress_bar("shards", len(jobs)) as bar:
            run_jobs(run_shard, jobs, bar.update, engine=config.engine, workers=config.workers)
    scored = edit_and_score(args, command, benchmark, samples, scores)
    missing = [sample.key for sample in samples if sample.key not in scored.paths]
    require(
        len(scored.paths) > 0, f"{args.images or args.out / 'edits'}: expected edits, found none"
    )
    found = [sample for sample in samples if sample.key in scored.paths]
    verdict = judging.judge_samples(judge, benchmark, found, scored.paths, scored.results, args)
    rows = scored.results.rows(sample.key for sample in found)
    sets = [score for score in scores if isinstance(score, SetScore)]
    sets = [score for score in sets if score.network not in scored.absent]
    whole = score_sets(benchmark, scored.paths, sets, scored.networks) if sets else {}
    seconds = {"seconds": summarise(seconds_of(scored.paths.values()))} if command else {}
    summary = {
        "benchmark": benchmark.name,
        "edits": str(args.model or args.images),
        "samples": len(samples),
        "missing": missing,
        "scores": _summaries(benchmark, found, rows, scores, whole, scored.absent)
        | judging.summaries(judge, rows, benchmark.average)
        | seconds,
        "settings": _settings(scored, is_ours=command is not None) | verdict.settings,
    }
    _write_reports(args, benchmark, found, scored.paths, rows, summary, scores, judge)
    return _exit_code(args, missing, verdict)


class Scored(NamedTuple):
    """Edits with their scores.

    Attributes:
      paths: the edit of each sample that has one, by the sample's key.
      networks: the networks of scores by name.
      absent: why other networks are not there.
    """

    paths: dict[str, pathlib.Path]
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
      OSError: another run does the same in the folder of results.
      ValueError, OSError: see `edit_samples` and `score_samples`.
    """
    if args.shard:
        samples = args.shard.of(samples)
    results = Results(args.out, args.shard)
    with _alone(results.path):
        if command and not args.scores_only:
            edit_samples(command, samples, args.out / "edits")
        paths = _find(benchmark, samples, args.images, args.out / "edits")
        loaded, absent = _load_networks(scores, args.predictions)
        each = [s for s in scores if isinstance(s, Score) and s.network not in absent]
        score_samples(benchmark, paths, results, each, loaded)
    return Scored(paths, results, loaded, absent)


class Job(NamedTuple):
    """A shard of a run, for an engine."""

    args: argparse.Namespace
    command: Command | None
    shard: Shard

    def __str__(self) -> str:
        """Return the name in messages."""
        return f"shard {self.shard}"


def run_shard(job: Job, seen: Callable[[], object]) -> None:
    """Edit and score the samples of a shard.

    Raises:
      ValueError, OSError: see `evaluate`.
    """
    alone = vars(ShardConfig(shard=job.shard))
    evaluate(argparse.Namespace(**vars(job.args) | alone), job.command, "")
    seen()


def _options(given: Sequence[str]) -> dict[str, Any]:
    """Return the options of a benchmark; numbers as integers."""
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        require(bool(name and equals), f"--option={name}: expected NAME=VALUE")
    return {name: int(value) if value.isdecimal() else value for name, _, value in pairs}


def _scores(names: Sequence[str]) -> list[Score | SetScore]:
    for name in names:
        require(name in SCORES, f"--scores={name}: expected one of {', '.join(SCORES)}")
    return [SCORES[name] for name in names]


def _chosen(
    benchmark: Benchmark, types: Sequence[str] | None, limit: int | None
) -> Sequence[Sample]:
    known = list(dict.fromkeys(sample.type for sample in benchmark.samples))
    for type_ in types or ():
        require(type_ in known, f"--types={type_}: expected some of {', '.join(known)}")
    require(limit is None or limit > 0, f"--limit={limit}: expected 1 or more")
    return [s for s in benchmark.samples if not types or s.type in types][:limit]


def _alone(path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Make the folder of a file; in the context no other run writes the file.

    Raises:
      OSError: another run does, or the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    taken = f"--out={path.parent}: another run writes there: expected another folder"
    return locked(path.with_name(f".{path.name}.lock"), taken)


def _find(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    images: pathlib.Path | None,
    edits: pathlib.Path,
) -> dict[str, pathlib.Path]:
    """Return the edit of each sample that has one: ours, or in the folder of another program."""
    if images is None:
        paths = {sample.key: edit_path(edits, sample) for sample in samples}
        return {key: path for key, path in paths.items() if path.is_file()}
    require(images.is_dir(), f"--images={images}: expected a folder")
    search = benchmark.find_edit or (lambda folder, sample: edit_path(folder, sample))
    paths = {sample.key: search(images, sample) for sample in samples}
    return {key: path for key, path in paths.items() if path is not None and path.is_file()}


def _load_networks(
    scores: Sequence[Score | SetScore], predictions: pathlib.Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the networks that scores need, and why others are not there."""
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
    for reason in absent.values():
        print(reason, file=sys.stderr)
    return loaded, absent


def _summaries(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    rows: Sequence[Row],
    scores: Sequence[Score | SetScore],
    whole: Mapping[str, float],
    absent: Missing,
) -> dict[str, Any]:
    found = {}
    for score in scores:
        if score.network in absent:
            found[score.name] = {"unavailable": absent[score.network]}
        elif not any(is_defined(score, sample) for sample in samples):
            needs = ", ".join(score.needs)
            found[score.name] = {"unavailable": f"the benchmark's samples lack {needs}"}
        elif isinstance(score, SetScore):
            found[score.name] = {"mean": as_json(whole[score.name]), "n": len(samples)}
        else:
            found[score.name] = summarise_types(rows, score.name, benchmark.average)
    return found


def _settings(scored: Scored, *, is_ours: bool) -> dict[str, Any]:
    """Return everything on which the numbers depend; an edit of ours knows how it was made."""
    found: dict[str, Any] = {"jaxedit": __version__}
    if is_ours:
        found |= settings_of(next(iter(scored.paths.values())))
    for name, network in scored.networks.items():
        if isinstance(network, networks.Network):
            found[f"sha256 of {name}"] = network.sha256
    return found


def _write_reports(
    args: argparse.Namespace,
    benchmark: Benchmark,
    samples: Sequence[Sample],
    paths: Mapping[str, pathlib.Path],
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    scores: Sequence[Score | SetScore],
    judge: "judging.OpenJudge | None",
) -> None:
    formats = {score.name: (score.factor, score.decimals) for score in scores}
    formats["seconds"] = (1.0, 2)
    better = {score.name: score.is_higher_better for score in scores if isinstance(score, Score)}
    if judge:
        formats |= {name: (1.0, judge.rubric.decimals) for name in judge.rubric.scores}
        better = {name: True for name in judge.rubric.scores} | better
    text = report(summary, formats)
    shown = []
    with progress_bar("page", len(samples)) as bar:
        for sample, row in zip(samples, rows, strict=True):
            shown.append(sample_of(read_edit(benchmark, sample, paths[sample.key]), row["scores"]))
            bar.update()
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    table = table.partition("\n| setting")[0]
    title = f"{summary['benchmark']}: {summary['edits']}"
    files = {
        "summary.json": json.dumps(summary, indent=1),
        "report.md": text,
        "report.html": page(title, f"{len(samples)} edits", table, shown, better),
    }
    for name, content in files.items():
        with atomic_write(args.out / name) as part:
            part.write_text(content, encoding="utf-8")
    if args.format == "pnp-csv":
        write_csv(args.out / "scores.csv", pathlib.Path(summary["edits"]).name, rows, list(formats))
    print(text)
    print(f"{args.out / 'report.html'}: all edits with their scores")


def _exit_code(args: argparse.Namespace, missing: Sequence[str], verdict: "judging.Verdict") -> int:
    """Return the exit code, and tell why it is not 0."""
    code = DONE
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        print(f"{len(missing)} edits are missing: {names}", file=sys.stderr)
        code = DONE if args.allow_missing else INCOMPLETE
    if verdict.failed > args.max_failed_frac * max(verdict.judged, 1):
        print(
            f"the judge failed for {verdict.failed} of {verdict.judged} edits, more than "
            f"--max_failed_frac={args.max_failed_frac}",
            file=sys.stderr,
        )
        code = INCOMPLETE
    return code
