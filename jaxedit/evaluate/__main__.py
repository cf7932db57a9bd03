"""Edit the samples of a benchmark, score the edits, and write a report.

    python -m jaxedit.evaluate --benchmark=toybox --data=toybox --model=toy-varedit --out=results/a
    python -m jaxedit.evaluate --benchmark=pie-bench --data=PIE-Bench --model=varedit-8b-512 \\
        --out=results/varedit
    python -m jaxedit.evaluate --benchmark=pie-bench --data=PIE-Bench --images=output/p2p \\
        --out=results/p2p

In the folder of results: the edits (edits/*.png, each with all that makes it again), the scores of
each sample (per_sample.jsonl), their means (summary.json, report.md) and a page with all pictures
(report.html). The same command continues a run that was stopped. docs/evaluation.md says where
each benchmark is, which scores it has, and what to expect.
Exit codes: 0 done; 1 edits are missing, or the judge failed too often; 2 bad input.
"""

import os
from collections.abc import Mapping, Sequence

from jaxedit import console
from jaxedit.console import exit_code
from jaxedit.evaluate.arguments import EvaluateCommand, make_parser, with_config


def main(argv: Sequence[str], environment: Mapping[str, str] = {}) -> int:
    """Run the command; return the exit code.

    Args:
      environment: holds the key of the judge's server.
    """
    return exit_code(
        lambda: _run(argv, environment), stopped="stopped: run the same command to continue"
    )


def _run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    args = make_parser(__doc__).parse_args(with_config(argv))
    from jaxedit.evaluate.evaluation import evaluate

    key = environment.get(args.judge_key_env, "")
    return evaluate(args, EvaluateCommand(args) if args.model else None, key)


def run() -> None:
    """Run the command `jaxedit evaluate`."""
    console.run(lambda argv: main(argv, os.environ))


if __name__ == "__main__":
    run()
