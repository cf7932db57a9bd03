"""The cost of data: images per CPU-second of conversion and of reading, and the share of a step.

    python benchmarks/data.py                            # 200 pairs of 1024x768 pixels
    python benchmarks/data.py --pairs=400 --width=2000 --height=1333 --output=docs/data.md

Pictures are noise with the spectrum of photographs, as JPEG files of quality 90, in a folder of own
pairs. CPU time is that of all threads of one process, so other work on the machine hardly counts.
"""

import argparse
import io
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxedit.config import DataConfig
from jaxedit.data.loader import make_loader
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.datasets.convert.store_config import StoreConfig
from jaxedit.datasets.convert.write_store import convert

STORE_PX = 512
MFU = 0.4  # assumed where a step's time is not measured


class Run(NamedTuple):
    """A published training run on a pod, and what a step of it takes by its FLOPs."""

    name: str
    image_size: int
    pairs: int  # of a step
    tflop: float  # per pair
    machine: str
    hosts: int
    tflops: float  # peak of all chips, bfloat16


RUNS = (
    Run("EditAR XL", 512, 64, 10.1, "8 H100", 1, 8 * 989),
    Run("VAREdit 2B", 256, 1536, 10.3, "v5e-256", 32, 256 * 197),
    Run("VAREdit 2B", 512, 960, 46.8, "v5e-256", 32, 256 * 197),
    Run("VAREdit 8B", 512, 1536, 179, "v5p-128", 16, 64 * 459),
)


def main() -> None:
    """Make pairs, convert them, read them, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--width", type=int, default=1024, help="of published pictures")
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--output", type=pathlib.Path, help="also write the tables to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        write_pairs(work / "pairs", args.pairs, (args.width, args.height))
        order = StoreConfig(
            dataset="pairs", src=work / "pairs", out=work / "store", shards=1, store_px=STORE_PX
        )
        seconds = cpu_seconds(lambda: convert(order))
        converting = 2 * args.pairs / seconds
        reading = {size: read(work / "store", size, args.pairs) for size in (256, 512)}
    lines = tables((args.width, args.height), converting, reading)
    print("\n".join(lines))
    if args.output:
        args.output.write_text("\n".join([*HEADING, *lines, ""]))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all threads, while it does some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def write_pairs(directory: pathlib.Path, count: int, size: tuple[int, int]) -> None:
    """A folder of own pairs; eight different pictures take turns."""
    files = [photo(size, seed) for seed in range(8)]
    for name in ("source", "target", "instruction"):
        (directory / name).mkdir(parents=True)
    for i in range(count):
        (directory / "source" / f"{i}.jpg").write_bytes(files[i % 8])
        (directory / "target" / f"{i}.jpg").write_bytes(files[(i + 1) % 8])
        (directory / "instruction" / f"{i}.txt").write_text("make the house red")


def photo(size: tuple[int, int], seed: int) -> bytes:
    """A JPEG file of noise that takes as many bytes as a photograph, 60 KB at 512 px."""
    width, height = size
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    spectrum = np.fft.rfft2(random.standard_normal((3, height, width)))
    noise = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / width) ** 1.5, (height, width))
    noise = 128 + 50 * noise / noise.std()
    pixels = np.moveaxis(noise, 0, -1).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def read(store: pathlib.Path, size: int, pairs: int) -> float:
    """Images per CPU-second of batches of pairs at `size` pixels."""
    config = DataConfig(
        source=str(store), image_size=size, batch_size=16, mixture=(("edit", 1.0),), prefetch=2
    )
    batches = make_loader(config, TextTokenizer.load("toy-tokenizer"), start_step=0)
    next(batches)  # opens files, imports codecs
    count = max(1, pairs // config.batch_size)
    seconds = cpu_seconds(lambda: [next(batches) for _ in range(count)])
    return 2 * count * config.batch_size / seconds


def tables(size: tuple[int, int], converting: float, reading: dict[int, float]) -> list[str]:
    """Markdown: the rates, and what they mean for the papers' runs."""
    width, height = size
    lines = [f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}.", ""]
    lines += ["| | images per CPU-second |", "| --- | --- |"]
    lines.append(f"| conversion, {width}x{height} to {STORE_PX} | {converting:.0f} |")
    lines += [f"| reading at {px} px, with batches | {rate:.0f} |" for px, rate in reading.items()]
    lines += [
        "",
        f"| run | machine | step at {MFU:.0%} of peak | CPU-seconds of reading on each host "
        "| cores kept busy |",
        "| --- | --- | --- | --- | --- |",
    ]
    for run in RUNS:
        step = run.pairs * run.tflop / (MFU * run.tflops)
        cpu = 2 * run.pairs / run.hosts / reading[run.image_size]
        lines.append(
            f"| {run.name}, {run.image_size} px, {run.pairs} pairs | {run.machine} | {step:.2f} s "
            f"| {cpu:.2f} | {cpu / step:.2f} |"
        )
    return lines


HEADING = [
    "# What data cost",
    "",
    "Measured by `benchmarks/data.py`: one process, CPU time of all its threads. A step's time is",
    "that of its FLOPs; reading goes on beside it, in threads. The store keeps 512 px: at 256 px",
    "each picture is shrunk as well.",
    "",
]

if __name__ == "__main__":
    main()
