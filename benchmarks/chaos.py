"""Kill a toy training run at random moments; its weights equal those of a run left in peace.

    python benchmarks/chaos.py --workdir=/tmp/chaos --model=varedit --kills=10

Two runs of the same command, in WORKDIR/whole and WORKDIR/killed. The second is ended at seeded
random steps, in turn by SIGTERM, by SIGKILL, and by SIGKILL while a checkpoint is being written,
and started again each time. Printed: what each end cost, as a Markdown table. Compared: every byte
of the exported weights (of the moving average), and the loss and gradient norm of every step.
Exits with 1 if anything differs.

Ten ends within 40 steps (--steps=40 --checkpoint_every=3): VAREdit made 14 to 17 steps twice,
EditAR 13; SIGTERM cost none, and five of six SIGKILLs left a checkpoint unfinished. Nothing
differs.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import NamedTuple

COMMON = ["data.batch_size=4", "log_every=1", "sample_every=0", "export_dtype=float32"]
SMALL = {
    "varedit": ("configs/var_sar.py:tiny", ["model.varedit.depth=2"]),
    "editar": ("configs/editar.py:tiny", ["model.editar.layers=2", "editar.distill_weight=0.0"]),
}
TOKENIZER = ["vq.kmeans_batches=0", "steps=1"]  # EditAR's, good enough to be killed
HEAD = ("end", "by", "at step", "exit code", "newest checkpoint", "steps lost", "left unfinished")
POLL = 0.005  # seconds


class Run(NamedTuple):
    """A command and what it leaves."""

    command: list[str]
    workdir: pathlib.Path

    def start(self) -> subprocess.Popen:
        """Start it in the background; what it prints is added to a file."""
        with (self.workdir.parent / f"{self.workdir.name}.log").open("a") as log:
            return subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)

    def reports(self) -> dict[int, dict[str, float]]:
        """Step -> report."""
        path = self.workdir / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        reports = [json.loads(line) for line in lines if line.endswith("\n")]
        return {report["step"]: report for report in reports}

    def started(self) -> int:
        """Changes when a new process has found where to go on: it replaces the reports then."""
        path = self.workdir / "metrics.jsonl"
        return path.stat().st_ino if path.exists() else 0

    def step(self) -> int:
        """The newest reported step."""
        return max(self.reports(), default=0)

    def checkpoint(self) -> int:
        """Step of the newest complete checkpoint, 0 if there is none."""
        names = (p.name for p in self.workdir.glob("checkpoints/*"))
        return max((int(name) for name in names if name.isdigit()), default=0)

    def unfinished(self) -> list[str]:
        """Checkpoints that do not have their final name."""
        return [p.name for p in self.workdir.glob("checkpoints/*.orbax-checkpoint-tmp*")]


def main() -> int:
    """Train twice, kill, compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="must not exist")
    parser.add_argument("--model", choices=SMALL, default="varedit")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--checkpoint_every", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not 0 < args.kills < args.steps:
        parser.error(f"--kills={args.kills}: expected 1 ... {args.steps - 1}, less than --steps")
    args.workdir.mkdir(parents=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(args.workdir.absolute() / "xla"))

    settings = [f"steps={args.steps}", f"checkpoint_every={args.checkpoint_every}"]
    if args.model == "editar":
        tokenizer = run_of("configs/tokenizer_vq.py:tiny", args.workdir / "tokenizer", TOKENIZER)
        finish(tokenizer)
        settings.append(f"editar.tokenizer={tokenizer.workdir / 'export'}")
    config, small = SMALL[args.model]
    whole, killed = (
        run_of(config, args.workdir / n, small + settings) for n in ("whole", "killed")
    )
    finish(whole)
    draw = random.Random(args.seed)
    moments = sorted(draw.sample(range(1, args.steps), args.kills))
    print(row(HEAD), row(["---"] * len(HEAD)), sep="\n", flush=True)
    for i, moment in enumerate(moments):
        print(row([i + 1, *end_at(killed, moment, i, draw)]), flush=True)
    finish(killed)
    different = differences(whole, killed)
    print(f"different: {', '.join(different) or 'nothing'}, of {args.steps} steps and the weights")
    return bool(different)


def run_of(config: str, workdir: pathlib.Path, settings: list[str]) -> Run:
    """The training command of a config with these settings."""
    command = [sys.executable, "-m", "jaxedit.train", f"--config={config}", f"--workdir={workdir}"]
    return Run([*command, *(f"--config.{setting}" for setting in COMMON + settings)], workdir)


def finish(run: Run) -> None:
    """Start it and wait for its end.

    Raises:
      RuntimeError: it failed.
    """
    if code := run.start().wait():
        raise RuntimeError(f"exit code {code}; see {run.workdir}.log")


def end_at(run: Run, moment: int, number: int, draw: random.Random) -> tuple[object, ...]:
    """Start the run and end it at about that step, in the manner of this number; a table row.

    Raises:
      RuntimeError: it ended by itself.
    """
    by = (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL)[number % 3]
    is_in_save = number % 3 == 2
    before = run.started()
    process = run.start()
    delay = draw.random()  # seconds
    while run.started() == before or run.step() < moment or (is_in_save and not run.unfinished()):
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}; see {run.workdir}.log")
        time.sleep(POLL)
    if not is_in_save:
        time.sleep(delay)
    process.send_signal(by)
    code = process.wait()
    step, kept = run.step(), run.checkpoint()
    name = by.name + (" in a save" if is_in_save else "")
    return name, step, code, kept, max(step - kept, 0), ", ".join(run.unfinished()) or "nothing"


def row(cells: object) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def differences(a: Run, b: Run) -> list[str]:
    """Names of exported files, and of steps, that are not the same in both runs."""
    files = {p.name for run in (a, b) for p in run.workdir.glob("export/*")}
    found = [f for f in sorted(files) if exported(a, f) != exported(b, f)]
    left, right = a.reports(), b.reports()
    names = ("loss", "grad_norm", "lr")
    for step in sorted(left.keys() | right.keys()):
        values = [[r.get(step, {}).get(name) for name in names] for r in (left, right)]
        found += [f"step {step}"] if values[0] != values[1] else []
    return found


def exported(run: Run, name: str) -> bytes | None:
    """Content of an exported file, None if there is no such file."""
    path = run.workdir / "export" / name
    return path.read_bytes() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
