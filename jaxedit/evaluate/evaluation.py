"""A run of an evaluation: edits, scores, judge and report, one after another."""

import argparse
import contextlib
import difflib
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit import __version__
from jaxedit.config import ConfigError, require
from jaxedit.console import DONE
from jaxedit.editor.command import Command
from jaxedit.engines.engine import run_jobs
from jaxedit.engines.options import Shard, ShardConfig, shard_config
from jaxedit.evaluate import judging, networks
from jaxedit.evaluate.arguments import check_values
from jaxedit.evaluate.benchmarks.registry import BENCHMARKS
from jaxedit.evaluate.edit_samples import seconds_of, settings_of
from jaxedit.evaluate.report import Evaluated, write_report
from jaxedit.evaluate.results import path_of
from jaxedit.evaluate.sample import Benchmark, Sample
from jaxedit.evaluate.score_samples import score_sets
from jaxedit.evaluate.scored_edits import Scored, edit_and_score
from jaxedit.evaluate.scores.registry import SCORES
from jaxedit.evaluate.scores.score import Score, SetScore
from jaxedit.evaluate.summary import summarise, summarise_scores, summarise_types
from jaxedit.file_lock import locked
from jaxedit.progress import progress_bar

INCOMPLETE = 1  # exit code
_SHOWN = 5  # missing edits


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
    check_values(args)
    for name in args.scores or ():
        _require_score(name)
    if command:
        command.sampling()
    benchmark = BENCHMARKS[args.benchmark](args.data, **_options(args.option))
    require(
        args.model is None or benchmark.is_editable,
        f"--model={args.model}: expected --images: the sources of these samples are edits",
    )
    scores = [SCORES[name] for name in args.scores or benchmark.scores]
    samples = _chosen(benchmark, args.types, args.limit)
    judge = None if args.shard else judging.open_judge(args, benchmark, key)
    with _alone(path_of(args.out, args.shard)):
        if not args.shard:
            _divide(args, command, config)
            return _run(args, command, benchmark, samples, scores, judge)
        edit_and_score(args, command, benchmark, samples, scores)
        print(f"{args.out}: shard {args.shard} is done")
        return DONE


def _divide(args: argparse.Namespace, command: Command | None, config: ShardConfig) -> None:
    """Let workers edit and score the samples, if there are any workers."""
    if config.is_divided:
        shards = [Shard(i, config.workers) for i in range(config.workers)]
        jobs = [Job(args, command, shard) for shard in shards]
        with progress_bar("shards", len(jobs)) as bar:
            run_jobs(run_shard, jobs, bar.update, engine=config.engine, workers=config.workers)


def _run(
    args: argparse.Namespace,
    command: Command | None,
    benchmark: Benchmark,
    samples: Sequence[Sample],
    scores: Sequence[Score | SetScore],
    judge: "judging.OpenJudge | None",
) -> int:
    """Run all parts of an evaluation, and return the exit code."""
    scored = edit_and_score(args, command, benchmark, samples, scores)
    found = [sample for sample in samples if sample.key in scored.paths]
    if not found:
        first, reason = next(iter(scored.missing.items()))
        where = args.images or args.out / "edits"
        raise ConfigError(f"{where}: none of {len(samples)} edits is there; {first}: {reason}")
    verdict = judging.judge_samples(judge, benchmark, found, scored.paths, scored.results, args)
    judged = judge.rubric.scores if judge else ()
    names = [*(score.name for score in scores), *judged]
    rows = scored.results.rows((sample.key for sample in found), names)
    sets = [s for s in scores if isinstance(s, SetScore) and s.network not in scored.absent]
    whole = score_sets(benchmark, scored.paths, sets, scored.networks) if sets else {}
    summary = {
        "benchmark": benchmark.name,
        "edits": str(args.model or args.images),
        "samples": len(samples),
        "missing": scored.missing,
        "networks": scored.absent,
        "scores": summarise_scores(benchmark, found, rows, scores, whole, scored.absent)
        | {name: summarise_types(rows, name, benchmark.average) for name in judged}
        | ({"seconds": summarise(seconds_of(scored.paths.values()))} if command else {}),
        "settings": _settings(scored, is_ours=command is not None) | verdict.settings,
    }
    rubric = judge.rubric if judge else None
    write_report(
        args.out, Evaluated(benchmark, found, scored.paths, rows, summary, scores, rubric), args
    )
    return _exit_code(args, summary, verdict)


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


def _require_score(name: str) -> None:
    near = difflib.get_close_matches(name, SCORES, 1)
    expected = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(SCORES)}"
    require(name in SCORES, f"--scores={name}: {expected}")


def _chosen(
    benchmark: Benchmark, types: Sequence[str] | None, limit: int | None
) -> Sequence[Sample]:
    known = list(dict.fromkeys(sample.type for sample in benchmark.samples))
    for type_ in types or ():
        require(type_ in known, f"--types={type_}: expected some of {', '.join(known)}")
    return [s for s in benchmark.samples if not types or s.type in types][:limit]


def _alone(path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Make the folder of a file, and keep other runs from writing the file meanwhile.

    Raises:
      OSError: another run does, or the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    taken = f"--out={path.parent}: another run writes there: expected another folder"
    return locked(path.with_name(f".{path.name}.lock"), taken)


def _settings(scored: Scored, *, is_ours: bool) -> dict[str, Any]:
    """Return all settings on which the numbers depend; `is_ours`: with those of the first edit."""
    found: dict[str, Any] = {"jaxedit": __version__}
    if is_ours:
        found |= settings_of(next(iter(scored.paths.values())))
    for name, network in scored.networks.items():
        if isinstance(network, networks.Network):
            found[f"sha256 of {name}"] = network.sha256
    return found


def _exit_code(
    args: argparse.Namespace, summary: Mapping[str, Any], verdict: "judging.Verdict"
) -> int:
    """Return the exit code, and print why it is not 0."""
    code, missing = DONE, list(summary["missing"].items())
    if missing:
        print(f"{len(missing)} of {summary['samples']} edits are missing:", file=sys.stderr)
        for key, reason in missing[:_SHOWN]:
            print(f"  {key}: {reason}", file=sys.stderr)
        if len(missing) > _SHOWN:
            print(f"  and others, see {args.out / 'summary.json'}", file=sys.stderr)
        code = DONE if args.allow_missing else INCOMPLETE
    if verdict.failed > args.max_failed_frac * max(verdict.judged, 1):
        print(
            f"the judge failed for {verdict.failed} of {verdict.judged} edits, more than "
            f"--max_failed_frac={args.max_failed_frac}",
            file=sys.stderr,
        )
        code = INCOMPLETE
    return code
