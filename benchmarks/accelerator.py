"""All measurements of a machine with one accelerator, each in a process of its own.

    benchmarks/accelerator.sh [--tiny] [--only=NAME,NAME] [--minutes=9] [DIRECTORY]

The directory gets accelerator.json, accelerator.md, and the output of each process. Both files are
written anew after each process, so that a crash, a full memory or the end of a lease loses nothing
that was measured. With --only the other measurements of an earlier run are kept.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from accelerator_page import page

BENCHMARKS = pathlib.Path(__file__).parent
MARGIN = 5  # seconds that are left for writing, and for processes to end
REASON = re.compile(r".*(RESOURCE_EXHAUSTED|[Oo]ut of memory|Error\b).*")


class Entry(NamedTuple):
    """A measurement.

    Attributes:
      name: its name.
      seconds: most that it may take, of nine minutes for all.
      script: file in this directory, which takes --json=FILE.
      options: for an accelerator.
      tiny: options for a CPU.
    """

    name: str
    seconds: int
    script: str
    options: str = ""
    tiny: str = ""


def _decoding(name: str, seconds: int) -> Entry:
    options = f"--entries={name} --model"
    return Entry(
        name,
        seconds,
        "decode.py",
        f"{options}=xl --dtype=bfloat16 --segment=1024",
        f"{options}=tiny --repeats=1",
    )


def _training(name: str, config: str, size: str) -> Entry:
    options = f"--config=configs/{config}.py"
    tiny = f"{options}:tiny --config.data.batch_size=2 --steps=2"
    return Entry(name, 90, "train_step.py", f"{options}:{size} --fit", tiny)


def _bundled(name: str) -> Entry:
    return Entry(name, 45, "serve.py", f"--bare --model={name}", f"--bare --model={name} --edits=4")


# What matters most comes first: the last are cut when time runs out.
ENTRIES = (
    Entry("device", 30, "device.py"),
    _decoding("editar", 100),
    Entry(
        "varedit",
        90,
        "next_scale.py",
        "--model=2b --dtype=bfloat16",
        "--model=tiny --repeats=1",
    ),
    _training("train-editar", "editar", "xl"),
    _training("train-varedit", "var_sar", "2b"),
    _decoding("erec", 80),
    _decoding("llamagen", 60),
    _bundled("toy-varedit"),
    _bundled("toy-editar"),
)


def main(argv: Sequence[str]) -> int:
    """Run all entries; return 0 if all were measured, 1 if some were not, 2 for wrong input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [entry.name for entry in ENTRIES]
    parser.add_argument("out", nargs="?", default="runs/accelerator", type=pathlib.Path)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, for a CPU")
    parser.add_argument("--only", help=f"some of {','.join(names)}")
    parser.add_argument("--minutes", type=float, default=9, help="for all together")
    args = parser.parse_args(argv)
    chosen = args.only.split(",") if args.only else names
    if unknown := set(chosen) - set(names):
        parser.error(f"--only={args.only}: {unknown.pop()}: expected some of {','.join(names)}")
    args.out.mkdir(parents=True, exist_ok=True)
    return measure([e for e in ENTRIES if e.name in chosen], args.out.resolve(), args)


def measure(entries: Sequence[Entry], out: pathlib.Path, args: argparse.Namespace) -> int:
    """Run entries one after the other, and write the report after each; return the exit code."""
    start, report = time.monotonic(), {"entries": {}}
    if args.only and (out / "accelerator.json").exists():
        report = json.loads((out / "accelerator.json").read_text("utf-8"))
    for entry in entries:
        left = 60 * args.minutes - MARGIN - (time.monotonic() - start)
        seconds = min(entry.seconds * args.minutes / 9, left)
        record = run(entry, entry.tiny if args.tiny else entry.options, out, seconds)
        report["entries"][entry.name] = record
        report |= {"is_tiny": args.tiny, "seconds": round(time.monotonic() - start)}
        write(report, out)
        print(
            f"{entry.name}: {record['failure'] or 'measured'} ({record['seconds']} s)", flush=True
        )
        if entry.name == "device" and not args.tiny and is_cpu(record):
            print("no accelerator is found: only --tiny runs on a CPU", file=sys.stderr)
            return 2
    return int(any(record["failure"] for record in report["entries"].values()))


def run(entry: Entry, options: str, out: pathlib.Path, seconds: float) -> dict[str, Any]:
    """Run an entry; return its results or, in a line, the reason why there are none."""
    start, file = time.monotonic(), out / f"{entry.name}.json"
    file.unlink(missing_ok=True)
    command = [str(BENCHMARKS / entry.script), *options.split()]
    log, failure, results = out / f"{entry.name}.log", None, None
    try:
        if seconds <= 0:
            raise subprocess.TimeoutExpired(command, 0)
        with log.open("w", encoding="utf-8") as output:
            subprocess.run(
                [sys.executable, *command, f"--json={file}"],
                cwd=BENCHMARKS.parent,
                stdout=output,
                stderr=output,
                timeout=seconds,
                check=True,
            )
        results = json.loads(file.read_text("utf-8"))
    except subprocess.TimeoutExpired:
        failure = f"not done within its {seconds:.0f} s" if seconds > 0 else "no time was left"
    except subprocess.CalledProcessError as error:
        failure = reason_of(log.read_text("utf-8", "replace"), error.returncode)
    return {
        "command": f"python benchmarks/{entry.script} {options}".strip(),
        "seconds": round(time.monotonic() - start),
        "failure": failure,
        "results": results,
    }


def reason_of(log: str, code: int) -> str:
    """Return the line of a log that says best why its process ended with this code."""
    if code < 0:
        return f"ended by signal {-code}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    found = [line for line in lines if REASON.match(line)] or lines or [f"exit code {code}"]
    return found[-1][:200]


def is_cpu(record: dict[str, Any]) -> bool:
    """Tell whether the entry `device` found a CPU only."""
    return record["results"] is not None and record["results"]["platform"] == "cpu"


def write(report: dict[str, Any], out: pathlib.Path) -> None:
    """Write the report as JSON and as a page."""
    for name, text in (
        ("accelerator.json", json.dumps(report, indent=1) + "\n"),
        ("accelerator.md", page(report)),
    ):
        part = out / f"{name}.part"
        part.write_text(text, "utf-8")
        part.replace(out / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
