"""The judge of a run: opened from the command's arguments, and asked about each edit."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit.chat.endpoint import Endpoint
from jaxedit.config import require
from jaxedit.evaluate.judges import JUDGES, Failure, Judge, ReplyCache, Rubric, judge_edits
from jaxedit.evaluate.judges.chat_judges import FileJudge, OpenAIChatJudge
from jaxedit.evaluate.judges.toy_judge import ToyJudge
from jaxedit.evaluate.results import Results, Row
from jaxedit.evaluate.sample import Benchmark, Sample
from jaxedit.evaluate.score_samples import Paths, read_edit
from jaxedit.evaluate.summary import summarise_types
from jaxedit.progress import progress_bar

REQUESTS = "judge_requests.jsonl"  # in the folder of results


class OpenJudge(NamedTuple):
    """A judge that is ready, and what it is asked."""

    rubric: Rubric
    judge: Judge


class Verdict(NamedTuple):
    """The number of edits that a judge scored or failed on, and the settings of its scores."""

    judged: int = 0
    failed: int = 0
    settings: Mapping[str, Any] = {}


def open_judge(args: argparse.Namespace, benchmark: Benchmark, key: str) -> OpenJudge | None:
    """Return the judge that the arguments ask for.

    Args:
      key: of the server.

    Raises:
      ConfigError: an argument is missing or wrong.
    """
    kind = args.judge or ("toy" if benchmark.judge == "toy" else "none")
    if kind == "none":
        return None
    name = args.rubric or ("toy" if kind == "toy" else benchmark.judge) or "varedit"
    require(name in JUDGES, f"--rubric={name}: expected one of {', '.join(JUDGES)}")
    rubric = JUDGES[name].with_prompts(args.prompts) if args.prompts else JUDGES[name]
    if kind == "toy":
        require(name == "toy", f"--rubric={name}: expected toy with --judge=toy")
        return OpenJudge(rubric, ToyJudge())
    require(bool(args.judge_model), "--judge_model is missing: expected a model's name")
    if kind == "file":
        args.out.mkdir(parents=True, exist_ok=True)
        judge = FileJudge(args.out / REQUESTS, args.judge_replies, args.judge_model)
        return OpenJudge(rubric, judge)
    threads = args.judge_threads
    require(threads > 0, f"--judge_threads={threads}: expected 1 or more")
    endpoint = Endpoint(args.judge_url, key=key)
    return OpenJudge(rubric, OpenAIChatJudge(endpoint, args.judge_model, threads=threads))


def judge_samples(
    opened: OpenJudge | None,
    benchmark: Benchmark,
    samples: Sequence[Sample],
    paths: Paths,
    results: Results,
    args: argparse.Namespace,
) -> Verdict:
    """Ask the judge about each edit, and add its scores to the rows.

    Raises:
      ConfigError: a prompt or a picture that the rubric needs is missing.
      OSError: the judge cannot be used.
    """
    if opened is None:
        return Verdict()
    rubric, judge = opened
    is_free = isinstance(judge, ToyJudge)  # of requests, which would be worth keeping
    cache = None if is_free else ReplyCache(args.out / "judge_replies.jsonl")
    edits = (read_edit(benchmark, sample, paths[sample.key]) for sample in samples)
    failed = waiting = 0
    with progress_bar("judge", len(samples)) as bar:
        attempts = args.judge_attempts
        for key, found in judge_edits(rubric, edits, judge, cache, attempts=attempts):
            is_failure = isinstance(found, Failure)
            waiting += is_failure and found.is_waiting
            failed += is_failure and not found.is_waiting
            results.update(key, {} if is_failure else found, forget=rubric.scores)
            bar.update()
    if waiting:
        print(f"{args.out / REQUESTS}: {waiting} edits wait for replies (--judge_replies=FILE)")
    settings = {f"judge's {name}": value for name, value in judge.settings.items()}
    settings |= {"judge's prompts": rubric.prompt_hash(), "judge failed": failed}
    return Verdict(len(samples), failed, settings)


def summaries(opened: OpenJudge | None, rows: Sequence[Row], average: str) -> dict[str, Any]:
    """Return the summary of each of the judge's scores."""
    names = opened.rubric.scores if opened else ()
    return {name: summarise_types(rows, name, average) for name in names}
