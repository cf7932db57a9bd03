"""The server under load: what it adds to an edit, edits a second, errors, and memory.

    python benchmarks/serve.py --clients=32 --requests=1000 --max_batch=4

The requests are mixed: pictures of several shapes, some with a mask, and one request in ten is
wrong on purpose. Every picture in an answer is compared with the same edit without a server; after
a lost or a wrong answer the exit code is 1. Server and clients are processes of one machine. With
--bare there are neither server nor masks: only edits alone, and batches, are timed.
"""

import argparse
import base64
import contextlib
import functools
import io
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from device import peak_memory, write_json
from PIL import Image

from jaxedit.data import toybox

SHAPES = ((256, 256), (256, 192), (120, 200), (512, 512))
KINDS = 16  # different good requests
LONELY = 40  # requests of a single client


class Edit(NamedTuple):
    """A request, and the picture that it should get; None: it is wrong, and gets a 400."""

    image: Image.Image
    mask: np.ndarray | None
    words: str
    seed: int
    expected: bytes | None = None

    def form(self) -> dict[str, Any]:
        """Return the arguments of a post."""
        files = {"image": ("photo.png", _file(self.image))}
        if self.mask is not None:
            files["mask"] = ("mask.png", _file(Image.fromarray(self.mask)))
        return {"files": files, "data": {"prompt": self.words, "seed": str(self.seed)}}


class Answer(NamedTuple):
    """What a client got."""

    seconds: float
    is_right: bool


def main(argv: Sequence[str]) -> int:
    """Print the table; return 1 if an answer was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="toy-varedit")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--max_batch", type=int, default=4)
    parser.add_argument("--bare", action="store_true", help="time edits without a server")
    parser.add_argument("--edits", type=int, default=LONELY, help="bare edits to time")
    parser.add_argument("--json", type=pathlib.Path, help="file for the results of --bare")
    args = parser.parse_args(argv)
    edits, alone, rate = bare(args.model, args.max_batch, args.edits, is_masked=not args.bare)
    if args.bare:
        return _report_bare(args, alone, rate)
    with server(args.model, args.max_batch, args.clients) as (address, pid):
        lonely = [ask(address, edits[i % KINDS]) for i in range(LONELY)]
        wrong = edits[0]._replace(words="", expected=None)
        mixed = [wrong if i % 10 == 9 else edits[i % KINDS] for i in range(args.requests)]
        before, start = memory(pid), time.perf_counter()
        with ThreadPoolExecutor(args.clients) as pool:
            answers = list(pool.map(lambda edit: ask(address, edit), mixed))
        seconds, after = time.perf_counter() - start, memory(pid)
    good = [answer for edit, answer in zip(mixed, answers, strict=True) if edit.expected]
    failed = sum(not answer.is_right for answer in [*lonely, *answers])
    latency = statistics.median(answer.seconds for answer in lonely)
    busy = sorted(answer.seconds for answer in good)
    print(f"{args.model}, --max_batch={args.max_batch}, {os.cpu_count()} cores")
    print(f"bare edit, median               {1000 * alone:.1f} ms")
    print(
        f"served edit, one client, median {1000 * latency:.1f} ms: "
        f"{1000 * (latency - alone):+.1f} ms"
    )
    print(f"bare batches                    {rate:.1f} images/s")
    print(
        f"{args.clients} clients, {len(mixed)} requests      {len(good) / seconds:.1f} images/s: "
        f"{len(good) / seconds / rate:.2f} of the bare batches"
    )
    print(
        f"latency under load              median {busy[len(busy) // 2]:.2f} s, "
        f"worst {busy[-1]:.2f} s"
    )
    print(f"lost or wrong answers           {failed}")
    print(f"server's memory                 {before:.0f} MB before, {after:.0f} MB after")
    return int(failed > 0)


def _report_bare(args: argparse.Namespace, alone: float, rate: float) -> int:
    found = {
        "model": args.model,
        "batch": args.max_batch,
        "ms_per_edit": 1000 * alone,
        "images_per_s": rate,
        "peak_mb": peak_memory(),
    }
    print("\n".join(f"{name}: {value}" for name, value in found.items()))
    write_json(args.json, found)
    return 0


def bare(
    model: str, max_batch: int, count: int, *, is_masked: bool
) -> tuple[list[Edit], float, float]:
    """Return edits with what they should give, a lone edit's seconds, and images a second."""
    from jaxedit import Editor

    editor = Editor.from_pretrained(model, rows_per_device=max_batch)
    edits = [_edit(i) for i in range(KINDS)]
    if not is_masked:  # each shape of a mask is a program of its own
        edits = [edit._replace(mask=None) for edit in edits]

    def run(part: Sequence[Edit]) -> list[bytes]:
        images, masks, words, seeds, _ = zip(*part, strict=True)
        made = editor.edit_batch(images, words, masks=masks, seeds=seeds)
        return [result.image.tobytes() for result in made]

    edits = [edit._replace(expected=run([edit])[0]) for edit in edits]  # also compiles
    times = [_seconds(lambda i=i: run([edits[i % KINDS]])) for i in range(count)]
    rates = [KINDS / _seconds(lambda: run(edits)) for _ in range(5)]
    return edits, statistics.median(times), statistics.median(rates)


@functools.cache
def _client() -> Any:
    """Return the client of all requests: to make one loads certificates, for some 40 ms."""
    import httpx2

    return httpx2.Client(timeout=600, limits=httpx2.Limits(max_connections=None))


def ask(address: str, edit: Edit) -> Answer:
    """Send a request, and look at the answer."""
    form, start = edit.form(), time.perf_counter()
    answer = _client().post(f"{address}/v1/images/edits", **form)
    seconds = time.perf_counter() - start
    if edit.expected is None:
        return Answer(seconds, answer.status_code == 400 and "error" in answer.json())
    if answer.status_code != 200:
        return Answer(seconds, False)
    made = Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))
    return Answer(seconds, made.tobytes() == edit.expected)


@contextlib.contextmanager
def server(model: str, max_batch: int, clients: int, *options: str) -> Iterator[tuple[str, int]]:
    """Run a server until the block ends; yield its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (f"--model={model}", f"--port={port}", f"--max_batch={max_batch}", *options)
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxedit.serve", *options, f"--max_queue={2 * clients + 10}"],
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while not _is_ready(address):
            assert process.poll() is None, "the server ended"
            time.sleep(0.2)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def memory(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _edit(number: int) -> Edit:
    pair = toybox.make(0, number, 0)
    image = Image.fromarray(pair.source).resize(SHAPES[number % len(SHAPES)])
    mask = None
    if number % 4 == 3:
        mask = np.zeros(image.size[::-1], bool)
        mask[: image.height // 2, : image.width // 2] = True
    return Edit(image, mask, pair.instruction, number)


def _file(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def _is_ready(address: str) -> bool:
    import httpx2

    with contextlib.suppress(httpx2.HTTPError):
        return httpx2.get(f"{address}/ready").status_code == 200
    return False


def _seconds(function: Any) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
