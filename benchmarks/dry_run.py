"""Compile the large configs for pods and write what they hold and send to docs/dry_run.md.

    pip install libtpu && python benchmarks/dry_run.py            # all; hours on two cores
    python benchmarks/dry_run.py --only=2b,v5p-128            # those whose command has all of these

Results are kept in --cache as they come, so that it can be stopped and started again.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
HEAD = """# What a training step holds and sends

Compiled at 512 px, not run; `python benchmarks/dry_run.py` writes this page. Bytes sent are those
of one device by the ring algorithm; GB is 10^9 bytes. For TPUs the memory is the compiler's; for
others it is an estimate, and what they send is an upper bound. Estimates on this page were made
before those of today, which are formulas (`planning/activations.py`) and differ by 5 % at most."""
PODS = (  # what is trained, its config, the devices, and settings with which it fits or is cut
    ("VAREdit 2B, batch 960", "var_sar.py:2b", "v5p-128", ""),
    ("VAREdit 8B, batch 1536", "var_sar.py:8b", "v5p-128", "optim.accumulate=2"),
    ("EditAR GPT-XL, batch 64", "editar.py:xl", "v5p-128", ""),
    ("VAREdit 2B, batch 960", "var_sar.py:2b", "v5e-256", "optim.accumulate=3"),
    (
        "VAREdit 2B, batch 1024",
        "var_sar.py:2b",
        "v5e-256",
        "data.batch_size=1024 optim.accumulate=2",
    ),
    ("VAREdit 8B, batch 1536", "var_sar.py:8b", "v5e-256", "optim.accumulate=3"),
    ("EditAR GPT-XL, batch 64", "editar.py:xl", "v5e-256", ""),
    ("VAREdit 2B, batch 960", "var_sar.py:2b", "8xH100", "optim.accumulate=3"),
    ("VAREdit 8B, batch 1536", "var_sar.py:8b", "8xH100", "optim.accumulate=16"),
    ("EditAR GPT-XL, batch 64", "editar.py:xl", "8xH100", ""),
)
MESHES = tuple(
    (f"VAREdit {size.upper()}, batch 8", f"var_sar.py:{size}", "cpu-8", f"data.batch_size=8 {mesh}")
    for mesh in (
        "mesh.data=1 mesh.fsdp=8 mesh.tensor=1",
        "mesh.data=1 mesh.fsdp=2 mesh.tensor=4",
        "mesh.data=2 mesh.fsdp=4 mesh.tensor=1",
    )
    for size in ("2b", "8b")
)


def commands() -> dict[str, str]:
    """A training and its devices, with the command that compiles it; all at 512 px."""
    found = {}
    for what, config, devices, settings in (*PODS, *MESHES):
        changes = "".join(f" --config.{setting}" for setting in settings.split())
        line = f"python -m jaxedit.train --config=configs/{config}{changes} --devices={devices}"
        found[f"{line} --dry_run"] = f"{what} on {devices}"
    return found


def main() -> None:
    """Run what is not in the cache, and write all that is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=pathlib.Path, default="runs/dry_run.json")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "dry_run.md")
    parser.add_argument("--only", default="", help="words that the command contains")
    args = parser.parse_args()
    args.cache.parent.mkdir(parents=True, exist_ok=True)
    done = json.loads(args.cache.read_text()) if args.cache.exists() else {}
    for line, title in commands().items():
        if line in done or not all(word in line for word in args.only.split(",")):
            continue
        command = [sys.executable, *line.split()[1:]]
        run = subprocess.run(command, capture_output=True, text=True)
        print(title, run.stdout or run.stderr[-2000:], sep="\n", flush=True)
        if run.stdout:
            done[line] = run.stdout
            args.cache.write_text(json.dumps(done, indent=1))
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(page(done))


def page(done: dict[str, str]) -> str:
    """The results as Markdown: a row for each, then each whole."""
    lines = ["| run | data x fsdp x tensor | holds, GB | sends, GB |", "| --- | --- | --- | --- |"]
    sections = []
    for line, title in commands().items():
        if line in done:
            output = done[line]
            mesh = " x ".join(re.search(r"data=(\d+) x fsdp=(\d+) x tensor=(\d+)", output).groups())
            holds = re.search(r"(?m)^  all +([\d.]+) GB", output)[1]
            sends = re.search(r"sends ([\d.]+) GB", output)
            lines.append(f"| {title} | {mesh} | {holds} | {sends[1] if sends else 'too large'} |")
            sections.append(f"## {title}, {mesh}\n\n```\n$ {line}\n{output}```")
    return "\n\n".join([HEAD, "\n".join(lines), *sections]) + "\n"


if __name__ == "__main__":
    main()
