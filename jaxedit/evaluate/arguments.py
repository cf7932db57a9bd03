"""The arguments of `python -m jaxedit.evaluate`."""

import argparse
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxedit import config_file
from jaxedit.config import FITS, methods_of, require, require_seed
from jaxedit.console import Parser
from jaxedit.editor.command import MODEL, add_placement, add_sampling
from jaxedit.editor.edit_command import EditCommand
from jaxedit.engines.options import add_options
from jaxedit.evaluate.benchmarks.registry import BENCHMARKS

OPENAI_URL, OPENAI_KEY = "https://api.openai.com/v1", "OPENAI_API_KEY"


class EvaluateCommand(EditCommand):
    """Edits samples in place of photos."""

    @property
    def name(self) -> str:
        """Return the given name of the model."""
        return self.args.model


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
    program = "python -m jaxedit.evaluate"
    parser = Parser(
        prog=program,
        usage=f"{program} --benchmark=NAME --data=DIR (--model=NAME | --images=DIR) --out=DIR "
        "[options]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--config",
        metavar="FILE.py[:PRESET]",
        help="take arguments from a file, such as configs/eval_varedit.py; others come after it",
    )
    add("--benchmark", required=True, choices=BENCHMARKS, help="samples to edit, with their scores")
    add(
        "--data",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="the benchmark as it is published; toybox is written there if there is nothing",
    )
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the benchmark: count, seed, level (toybox), lang=cn (gedit-bench), "
        "turns=final (magicbrush), group (multigen-*, coco-stuff); may be repeated",
    )
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--model", help=f"edit by this model: {MODEL}")
    whose.add_argument(
        "--images", type=pathlib.Path, metavar="DIR", help="score the pictures in this folder"
    )
    add("--out", required=True, type=pathlib.Path, metavar="DIR", help="folder of the results")
    _add_choice_of_work(parser)
    _add_judge(parser)
    add(
        "--method",
        help=f"{', '.join(methods_of('edit'))} (default: the first that fits the weights)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of every edit (default 0)")
    add("--fit", choices=FITS, help="see python -m jaxedit --help")
    add("--keep_size", action="store_true", default=None, help="see python -m jaxedit --help")
    add(
        "--mask",
        choices=("benchmark",),
        help="edit only inside each sample's own mask, an oracle; samples without a mask as usual",
    )
    add("--feather", type=int, metavar="PIXELS", help="see python -m jaxedit --help")
    add("--strict", action="store_true", help="refuse instructions too long to be read in full")
    add_placement(parser, EvaluateCommand)
    add_sampling(parser, EvaluateCommand)
    parser.set_defaults(dry_run=False)
    return parser


def check_values(args: argparse.Namespace) -> None:
    """Raise ConfigError if a number is out of range, or a path is not a folder."""
    there = next(path for path in (args.out, *args.out.absolute().parents) if path.exists())
    require(there.is_dir(), f"--out={args.out}: expected a folder, but {there} is a file")
    for name in ("images", "predictions"):
        path = getattr(args, name)
        require(path is None or path.is_dir(), f"--{name}={path}: expected a folder")
    for name in ("limit", "rows_per_device", "judge_threads", "judge_attempts"):
        value = getattr(args, name)
        require(value is None or value > 0, f"--{name}={value}: expected 1 or more")
    timeout, share = args.judge_timeout, args.max_failed_frac
    require(0 < timeout < math.inf, f"--judge_timeout={timeout}: expected a number above 0")
    require(0 <= share <= 1, f"--max_failed_frac={share}: expected 0 to 1")
    require_seed(args.seed)


def with_config(argv: Sequence[str]) -> list[str]:
    """Return the arguments, with those of the file that `--config` names before them.

    Raises:
      ConfigError: no such file or preset, or the file fails.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config")
    first.add_argument("--images")
    given, _ = first.parse_known_args(argv)
    if given.config is None:
        return list(argv)
    config = config_file.load(given.config, dict).config
    if given.images is not None:
        config.pop("model", None)
    return [_argument(name, value) for name, value in config.items()] + list(argv)


def _argument(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={','.join(map(str, value)) if isinstance(value, tuple | list) else value}"


def _add_choice_of_work(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--types", type=_names, metavar="NAME[,...]", help="only samples of these types")
    add("--limit", type=int, metavar="N", help="only the first N samples of those")
    add("--scores", type=_names, metavar="NAME[,...]", help="scores instead of the benchmark's")
    add(
        "--predictions",
        type=pathlib.Path,
        metavar="DIR",
        help="depths or classes of the edits by other programs: KEY.npy or KEY.png",
    )
    add("--scores_only", action="store_true", help="edit nothing: score the edits that are there")
    add("--allow_missing", action="store_true", help="exit with 0 although edits are missing")
    add_options(parser)
    add("--format", choices=("pnp-csv",), help="also write scores.csv for PnPInversion's readers")


def _add_judge(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("judge", "asks a vision-language model about each edit")
    add = group.add_argument
    add(
        "--judge",
        choices=("none", "openai", "file", "toy"),
        help="openai: a server; file: requests to a file (default toy for toybox, else none)",
    )
    add(
        "--rubric",
        metavar="NAME",
        help="prompts and scores: varedit, viescore, imgedit or imgedit-uge (default: the "
        "benchmark's)",
    )
    add("--prompts", type=pathlib.Path, metavar="DIR", help="prompts to use instead of ours")
    add(
        "--judge_url",
        metavar="URL",
        default=OPENAI_URL,
        help="server (default %(default)s)",
    )
    add("--judge_model", metavar="NAME", default="", help="name of the model on the server")
    add(
        "--judge_key_env",
        metavar="NAME",
        default=OPENAI_KEY,
        help="environment variable with the server's key (default %(default)s)",
    )
    add("--judge_replies", type=pathlib.Path, metavar="FILE", help="for file: replies (JSONL)")
    add(
        "--judge_threads", type=int, default=16, metavar="N", help="requests at a time (default 16)"
    )
    add(
        "--judge_timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="wait for a reply before the server is asked again (default 600)",
    )
    add("--judge_attempts", type=int, default=3, help="times that a question is asked (default 3)")
    add(
        "--max_failed_frac",
        type=float,
        default=0.01,
        help="exit with 1 if the judge fails for a larger share (default 0.01)",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
