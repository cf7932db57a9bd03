"""The judge of a run: opened from the command's arguments, and asked about each edit."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit.chat.endpoint import Endpoint
from jaxedit.config import require
from jaxedit.evaluate.arguments import OPENAI_KEY, OPENAI_URL
from jaxedit.evaluate.judges import JUDGES, Failure, Judge, ReplyCache, Rubric, judge_edits
from jaxedit.evaluate.judges.chat_judges import FileJudge, OpenAIChatJudge
from jaxedit.evaluate.judges.toy_judge import ToyJudge
from jaxedit.evaluate.results import Results
from jaxedit.evaluate.sample import Benchmark, Sample
from jaxedit.evaluate.score_samples import Paths, read_edit
from jaxedit.progress import progress_bar

REQUESTS = "judge_requests.jsonl"  # in the folder of results
_SHOWN = 3  # reasons of failures


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
    _require_pictures(rubric, name, benchmark)
    if kind == "toy":
        require(name == "toy", f"--rubric={name}: expected toy with --judge=toy")
        return OpenJudge(rubric, ToyJudge())
    require(bool(args.judge_model), "--judge_model is missing: expected a model's name")
    if kind == "file":
        judge = FileJudge(args.out / REQUESTS, args.judge_replies, args.judge_model)
        return OpenJudge(rubric, judge)
    _require_key(args, key)
    endpoint = Endpoint(args.judge_url, key=key, timeout=args.judge_timeout)
    judge = OpenAIChatJudge(endpoint, args.judge_model, threads=args.judge_threads)
    return OpenJudge(rubric, judge)


def _require_pictures(rubric: Rubric, name: str, benchmark: Benchmark) -> None:
    """Raise ConfigError if the samples lack a picture that the judge is shown."""
    shown = {picture for question in rubric.questions for picture in question.pictures}
    if "target" in shown:
        has_all = all(sample.target is not None for sample in benchmark.samples)
        require(has_all, f"--rubric={name}: {benchmark.name} lacks the targets that it shows")


def _require_key(args: argparse.Namespace, key: str) -> None:
    """Raise ConfigError if a server that needs a key has none; a local server may need none."""
    name = args.judge_key_env
    # Somebody may give the key in place of its name; no message shows it.
    is_name = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)
    require(bool(is_name), "--judge_key_env: expected the name of an environment variable")
    is_needed = args.judge_url == OPENAI_URL or name != OPENAI_KEY
    missing = f"environment variable {name} is not set: expected the key of {args.judge_url}"
    require(bool(key) or not is_needed, missing)


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
    reasons: list[str] = []
    waiting = 0
    with progress_bar("judge", len(samples)) as bar:
        attempts = args.judge_attempts
        for key, found in judge_edits(rubric, edits, judge, cache, attempts=attempts):
            is_failure = isinstance(found, Failure)
            waiting += is_failure and found.is_waiting
            if is_failure and not found.is_waiting:
                reasons.append(f"judge failed for {key}: {found.reason}")
            results.update(key, {} if is_failure else found, forget=rubric.scores)
            bar.update()
    if waiting:
        print(f"{args.out / REQUESTS}: {waiting} edits wait for replies (--judge_replies=FILE)")
    for reason in reasons[:_SHOWN]:
        print(reason, file=sys.stderr)
    settings = {f"judge's {name}": value for name, value in judge.settings.items()}
    settings |= {"judge's prompts": rubric.prompt_hash(), "judge failed": len(reasons)}
    return Verdict(len(samples), len(reasons), settings)
