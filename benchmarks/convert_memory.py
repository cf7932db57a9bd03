"""Peak memory and time of converting a release, on files of its real shapes.

    python benchmarks/convert_memory.py varedit-8b-512               # 38 GB of files as holes
    python benchmarks/convert_memory.py varedit-8b-512 --layers 8    # a fifth of them

The PyTorch files are made here: every array of the release, float32, zeros that take no room on
the disk (--random: numbers from a seed, which take it). What is written takes its whole size:
19.6 GB for the 8B model in bfloat16. The peak is the resident memory that the system counted for
the command `python -m jaxedit.convert`.
"""

import argparse
import copy
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests" / "convert"))
import releases  # noqa: E402

from jaxedit import tree  # noqa: E402
from jaxedit.checkpoints import pretrained
from jaxedit.config import PretrainedConfig, official  # noqa: E402


def main() -> None:
    """Make the files, convert them, print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="official name, such as varedit-8b-512")
    parser.add_argument("--layers", type=int, help="of the transformer; default all")
    parser.add_argument("--random", action="store_true", help="numbers instead of zeros")
    parser.add_argument("--dtype", default="bf16", help="of what is written")
    parser.add_argument("--work", type=pathlib.Path, help="where the files go; default temporary")
    args = parser.parse_args()
    config = copy.deepcopy(official(args.name).config)
    if args.layers:
        part = config.varedit or config.editar
        setattr(part, "depth" if config.varedit else "layers", args.layers)
    with tempfile.TemporaryDirectory(dir=args.work) as directory:
        report = measure(config, args.name, args.dtype, args.random, pathlib.Path(directory))
    print(json.dumps(report))


def measure(
    config: PretrainedConfig, name: str, dtype: str, is_random: bool, work: pathlib.Path
) -> dict[str, object]:
    """Convert generated files of `config`; what it took."""
    seed = 0 if is_random else None
    sources = [releases.write(kind, config, work, seed=seed) for kind in releases.kinds_of(config)]
    command = [sys.executable, "-m", "jaxedit.convert", f"--dst={work / 'converted'}"]
    command += [f"--dtype={dtype}", *(f"--src={source}" for source in sources)]
    if official(name).config == config:
        command.append(f"--settings={name}")
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    written = sum(path.stat().st_size for path in (work / "converted").iterdir())
    files = [*work.glob("*.pth"), *work.glob("*/*.bin")]
    return {
        "model": name,
        "parameters": tree.count(pretrained.abstract_params(config)),
        "read_gb": round(sum(file.stat().st_size for file in files) / 1e9, 2),
        "written_gb": round(written / 1e9, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9, 2),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
