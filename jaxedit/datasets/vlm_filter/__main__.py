"""Ask a vision-language model whether each edit is good, and exclude bad edits from training.

    python -m jaxedit.datasets.vlm_filter --store=stores/imgedit \\
        --endpoint=http://localhost:8000/v1 --model=moonshotai/Kimi-VL-A3B-Thinking
    python -m jaxedit.datasets.vlm_filter --store=stores/imgedit --export=ask.jsonl --model=NAME
    python -m jaxedit.datasets.vlm_filter --store=stores/imgedit --import=answers.jsonl

The model sees both pictures and the instruction and answers yes or no: does the difference match
the instruction and nothing else, and are both pictures clear? Any OpenAI-compatible server can be
used; the environment variable OPENAI_API_KEY holds its key. Answers are stored in the store's
vlm_filter.jsonl, from which a stopped run continues; rows with the answer no are listed in
drop.vlm_filter.jsonl, which training skips. Unclear answers do not drop a row. With several servers
give each run a --shard; a run without it, afterwards, lists the rows to skip.
Exit codes: 0 done; 2 bad input, or a server that cannot be used.
"""

import argparse
import functools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxedit import console
from jaxedit.config import require
from jaxedit.console import DONE, Parser, exit_code
from jaxedit.engines.options import add_shard


def main(argv: Sequence[str], key: str = "") -> int:
    """Run the command with the server's key, and return its exit code."""
    return exit_code(
        lambda: _run(make_parser().parse_args(argv), key),
        stopped="stopped: run the same command to continue",
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments of the command."""
    parser = Parser(
        prog="python -m jaxedit.datasets.vlm_filter",
        usage="python -m jaxedit.datasets.vlm_filter --store=DIR (--endpoint=URL --model=NAME | "
        "--export=FILE --model=NAME | --import=FILE)",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--store", required=True, type=pathlib.Path, metavar="DIR", help="store with the edits")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--endpoint", metavar="URL", help="server to ask")
    way.add_argument("--export", type=pathlib.Path, metavar="FILE", help="write requests (JSONL)")
    way.add_argument(
        "--import", dest="answers", type=pathlib.Path, metavar="FILE", help="read responses (JSONL)"
    )
    add("--model", default="", metavar="NAME", help="name of the model on the server")
    options = {"type": _options, "default": {"temperature": 0}, "metavar": "JSON"}
    add("--options", **options, help='further fields of requests (default {"temperature": 0})')
    add("--threads", type=int, default=16, help="requests at a time (default 16)")
    rows = {"type": _rows, "default": slice(None), "metavar": "BEGIN:END"}
    add("--rows", **rows, help="only these rows of the store (default all)")
    add_shard(parser)
    return parser


def _run(args: argparse.Namespace, key: str) -> int:
    from jaxedit.chat.endpoint import Endpoint
    from jaxedit.data import drop_list
    from jaxedit.data.store import Store
    from jaxedit.datasets.vlm_filter.answers import NO, UNCLEAR, YES, Answers
    from jaxedit.datasets.vlm_filter.filter import Model, ask_all, export, import_

    require(
        bool(args.model or args.answers),
        "--model is missing: expected a model's name on the server",
    )
    require(args.threads > 0, f"--threads={args.threads}: expected a positive number")
    require(not (args.shard and args.answers), "--import: expected no --shard beside it")
    store, model = Store(args.store, keeps_dropped=True), Model(args.model, args.options)
    answers, rows = Answers(store, args.shard), range(len(store))[args.rows]
    rows = rows if args.shard is None else args.shard.of(rows)
    rows = [row for row in rows if row not in answers.by_row]
    if args.export:
        print(f"{args.export}: {export(store, rows, args.export, model)} requests")
        return DONE
    if args.answers:
        failed = import_(store, args.answers, answers)
        print(f"{args.answers}: {failed} lines without a response")
    else:
        endpoint = Endpoint(args.endpoint, key=key)
        ask_all(store, rows, answers, endpoint, model=model, threads=args.threads)
    if args.shard:
        print(f"{answers.path}: all rows of shard {args.shard} are judged")
        return DONE
    path = drop_list.write(store.directory, "vlm_filter", answers.dropped())
    found = [answer for _, answer in answers.by_row.values()]
    counts = ", ".join(f"{found.count(word)} {word}" for word in (YES, NO, UNCLEAR))
    print(f"{args.store}: {len(found)} of {len(store)} rows judged: {counts}: {path}")
    return DONE


def _options(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: expected JSON: {error}") from error
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError(f"{text}: expected a JSON object")
    return values


def _rows(text: str) -> slice:
    begin, colon, end = text.partition(":")
    if not colon or not all(n == "" or n.isdecimal() for n in (begin, end)):
        raise argparse.ArgumentTypeError(f"{text}: expected BEGIN:END")
    return slice(*(int(n) if n else None for n in (begin, end)))


if __name__ == "__main__":
    console.run(functools.partial(main, key=os.environ.get("OPENAI_API_KEY", "")))
