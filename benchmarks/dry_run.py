"""Compile the large configs for pods and write what they hold and send to docs/dry_run.md.

    pip install libtpu && python benchmarks/dry_run.py            # all; hours on two cores
    python benchmarks/dry_run.py --only=2b,v5p-128            # those whose line has all of these

Results are kept in --cache as they come, so that it can be stopped and started again.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
PODS = ("v5p-128", "v5e-256", "8xH100")
CONFIGS = {
    "VAREdit 2B, 512 px, batch 960": ["--config=configs/var_sar.py:2b"],
    "VAREdit 8B, 512 px, batch 1536": ["--config=configs/var_sar.py:8b"],
    "EditAR GPT-XL, 512 px, batch 64": ["--config=configs/editar.py:xl"],
}
SETTINGS = {  # micro-batches that fit
    ("VAREdit 2B, 512 px, batch 960", "v5e-256"): ["--config.optim.accumulate=3"],
    ("VAREdit 8B, 512 px, batch 1536", "v5e-256"): ["--config.optim.accumulate=3"],
    ("VAREdit 8B, 512 px, batch 1536", "v5p-128"): ["--config.optim.accumulate=2"],
    ("VAREdit 2B, 512 px, batch 960", "8xH100"): ["--config.optim.accumulate=3"],
    ("VAREdit 8B, 512 px, batch 1536", "8xH100"): ["--config.optim.accumulate=16"],
}
EVEN = {  # a batch that divides over all devices
    "VAREdit 2B, 512 px, batch 1024 on v5e-256": [
        *("--config=configs/var_sar.py:2b", "--config.data.batch_size=1024"),
        *("--config.optim.accumulate=2", "--devices=v5e-256"),
    ]
}
MESHES = ((1, 8, 1), (1, 2, 4), (2, 4, 1))  # data, fsdp, tensor


def cases() -> dict[str, list[str]]:
    """Arguments of a dry run by the title of its section."""
    found = {}
    for pod in PODS:
        for name, config in CONFIGS.items():
            settings = SETTINGS.get((name, pod), [])
            found[f"{name} on {pod}"] = [*config, *settings, f"--devices={pod}"]
    found |= EVEN
    for sizes in MESHES:
        mesh = [
            f"--config.mesh.{axis}={size}"
            for axis, size in zip(("data", "fsdp", "tensor"), sizes, strict=True)
        ]
        for name, config in list(CONFIGS.items())[:2]:
            title = f"{name} on 8 simulated devices, data={sizes[0]} fsdp={sizes[1]} "
            found[f"{title}tensor={sizes[2]}"] = [*config, "--devices=cpu-8", *mesh]
    return found


def main() -> None:
    """Run what is not in the cache, and write all that is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=pathlib.Path, default="runs/dry_run.json")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "dry_run.md")
    parser.add_argument("--only", default="", help="words that the title or arguments contain")
    args = parser.parse_args()
    args.cache.parent.mkdir(parents=True, exist_ok=True)
    done = json.loads(args.cache.read_text()) if args.cache.exists() else {}
    for title, arguments in cases().items():
        command = ["python", "-m", "jaxedit.train", *arguments, "--dry_run"]
        line = " ".join(command)
        if title in done or not all(word in f"{title} {line}" for word in args.only.split(",")):
            continue
        run = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True)
        print(title, run.stdout or run.stderr[-2000:], sep="\n", flush=True)
        if run.stdout:
            done[title] = {"command": line, "output": run.stdout}
            args.cache.write_text(json.dumps(done, indent=1))
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(page(done))


def page(done: dict[str, dict[str, str]]) -> str:
    """The results as Markdown, in the order of `cases`."""
    parts = [
        "# What a training step holds and sends",
        "Compiled, not run; `python benchmarks/dry_run.py` writes this page. Bytes sent are those "
        "of one device by the ring algorithm; GB is 10^9 bytes.",
        summary(done),
    ]
    for title in cases():
        if title in done:
            found = done[title]
            parts.append(f"## {title}\n\n```\n$ {found['command']}\n{found['output']}```")
    return "\n\n".join(parts) + "\n"


def summary(done: dict[str, dict[str, str]]) -> str:
    """One row a section: the mesh, what a device holds and sends."""
    lines = ["| run | data x fsdp x tensor | holds, GB | sends, GB |", "| --- | --- | --- | --- |"]
    for title in cases():
        if title in done:
            output = done[title]["output"]
            mesh = re.search(r"data=(\d+) x fsdp=(\d+) x tensor=(\d+)", output)
            holds = re.search(r"(?m)^  all +([\d.]+) GB", output)
            sends = re.search(r"sends ([\d.]+) GB", output)
            sent = sends[1] if sends else "too large"
            lines.append(f"| {title} | {' x '.join(mesh.groups())} | {holds[1]} | {sent} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
