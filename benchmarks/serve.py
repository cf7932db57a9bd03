"""The server under load: what it adds to an edit, edits a second, errors, and memory.

    python benchmarks/serve.py --clients=32 --requests=1000 --max_batch=4

The requests are mixed: pictures of several shapes, some with a mask, and one request in ten is
wrong on purpose. Every picture in an answer is compared with the same edit without a server; after
a lost or a wrong answer the exit code is 1. Server and clients are processes of one machine: forms
are made before the clock starts, and answers are compared after it stops. CPU time is told beside
the time of the clock, which other work on the machine lengthens. With --bare there are neither
server nor masks: only edits alone, and batches, are timed.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from device import peak_memory, write_json
from PIL import Image

from jaxedit.data import toybox
from jaxedit.editor import provenance
from jaxedit.editor.editor import EditResult

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

    def form(self) -> "Form":
        """Return the request that a client sends."""
        import httpx2

        files = {"image": ("photo.png", _file(self.image))}
        if self.mask is not None:
            files["mask"] = ("mask.png", _file(Image.fromarray(self.mask)))
        data = {"prompt": self.words, "seed": str(self.seed)}
        made = httpx2.Request("POST", "http://localhost", files=files, data=data)
        return Form({"Content-Type": made.headers["Content-Type"]}, made.read())

    def is_answered_by(self, answer: "Answer") -> bool:
        """Tell whether an answer is right, bit for bit."""
        if self.expected is None:
            return answer.status == 400 and "error" in json.loads(answer.body)
        if answer.status != 200:
            return False
        file = base64.b64decode(json.loads(answer.body)["data"][0]["b64_json"])
        return Image.open(io.BytesIO(file)).tobytes() == self.expected


class Form(NamedTuple):
    """A request as it is sent."""

    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What a client got."""

    seconds: float
    status: int
    body: bytes


class Cost(NamedTuple):
    """What an edit takes: the median time by the clock, and the mean CPU time, in seconds."""

    clock: float
    cpu: float

    def plus(self, other: "Cost") -> "Cost":
        """Return the cost of both."""
        return Cost(self.clock + other.clock, self.cpu + other.cpu)


class Bare(NamedTuple):
    """Edits without a server.

    Attributes:
      edits: with the pictures that they should give.
      alone: the cost of an edit alone.
      batch: the cost of an edit in full batches.
      files: the cost of reading and writing its PNG files.
    """

    edits: list[Edit]
    alone: Cost
    batch: Cost
    files: Cost


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
    found = bare(args.model, args.max_batch, args.edits, is_masked=not args.bare)
    if args.bare:
        return _report_bare(args, found)
    few = [found.edits[i % KINDS] for i in range(LONELY)]
    wrong = found.edits[0]._replace(words="", expected=None)
    many = [wrong if i % 10 == 9 else found.edits[i % KINDS] for i in range(args.requests)]
    with server(args.model, args.max_batch, args.clients) as (address, pid):
        ask(address, pid, found.edits, 1)  # bare edits know pictures and words already
        lonely, _, alone_cpu = ask(address, pid, few, 1)
        before = memory(pid)
        answers, seconds, busy_cpu = ask(address, pid, many, args.clients)
        after = memory(pid)
    pairs = [*zip(few, lonely, strict=True), *zip(many, answers, strict=True)]
    failed = sum(not edit.is_answered_by(answer) for edit, answer in pairs)
    alone = Cost(statistics.median(answer.seconds for answer in lonely), alone_cpu / LONELY)
    late = sorted(answer.seconds for edit, answer in pairs[LONELY:] if edit.expected)
    busy = Cost(seconds / len(late), busy_cpu / len(late))
    print(f"{args.model}, --max_batch={args.max_batch}, {len(os.sched_getaffinity(0))} cores")
    print(f"{'milliseconds an edit':<32}{'clock':>10}{'CPU time':>10}")
    _print_costs("alone, without a server", found.alone)
    _print_costs("  and its files read and written", found.alone.plus(found.files))
    _print_costs("served, one client", alone)
    _print_costs("in batches, without a server", found.batch)
    _print_costs("  and files read and written", found.batch.plus(found.files))
    _print_costs(f"served, {args.clients} clients", busy)
    print(f"{len(many)} requests: {1 / busy.clock:.1f} images/s", end=", ")
    shares = found.batch.clock / busy.clock, found.batch.cpu / busy.cpu
    print(f"{shares[0]:.2f} of the bare batches, {shares[1]:.2f} by CPU time")
    print(f"latency under load: median {late[len(late) // 2]:.2f} s, worst {late[-1]:.2f} s")
    print(f"lost or wrong answers: {failed}")
    print(f"server's memory: {before:.0f} MB before, {after:.0f} MB after")
    return int(failed > 0)


def _print_costs(name: str, cost: Cost) -> None:
    print(f"{name:<32}{1000 * cost.clock:>10.1f}{1000 * cost.cpu:>10.1f}")


def _report_bare(args: argparse.Namespace, found: Bare) -> int:
    report = {
        "model": args.model,
        "batch": args.max_batch,
        "ms_per_edit": 1000 * found.alone.clock,
        "images_per_s": 1 / found.batch.clock,
        "peak_mb": peak_memory(),
    }
    print("\n".join(f"{name}: {value}" for name, value in report.items()))
    write_json(args.json, report)
    return 0


def bare(model: str, max_batch: int, count: int, *, is_masked: bool) -> Bare:
    """Time edits without a server: `count` alone, and batches."""
    from jaxedit import Editor

    editor = Editor.from_pretrained(model, rows_per_device=max_batch)
    edits = [_edit(i) for i in range(KINDS)]
    if not is_masked:  # each shape of a mask is a program of its own
        edits = [edit._replace(mask=None) for edit in edits]

    def run(part: Sequence[Edit]) -> list[EditResult]:
        images, masks, words, seeds, _ = zip(*part, strict=True)
        results = editor.edit_batch(images, words, masks=masks, seeds=seeds)
        for result in results:
            result.image.load()  # brings the edit to its picture's size
        return results

    made = [(edit, run([edit])[0]) for edit in edits]  # also compiles
    files = [(_file(edit.image), result) for edit, result in made]
    return Bare(
        [edit._replace(expected=result.image.tobytes()) for edit, result in made],
        alone=_cost([lambda i=i: run([edits[i % KINDS]]) for i in range(count)]),
        batch=_cost([lambda: run(edits)] * 5, edits=KINDS),
        files=_cost([lambda pair=pair: _read_and_write(*pair) for pair in files]),
    )


def _read_and_write(source: bytes, result: EditResult) -> None:
    with Image.open(io.BytesIO(source)) as image:
        image.load()
    provenance.encode(result.image, result.settings)


def ask(
    address: str, pid: int, edits: Sequence[Edit], clients: int
) -> tuple[list[Answer], float, float]:
    """Send requests; each client has a connection, and sends its share one after another.

    Returns:
      The answers, the seconds that all took, and the CPU time that the server, `pid`, took.
    """
    forms = [edit.form() for edit in edits]
    host = urllib.parse.urlsplit(address).netloc

    def client(share: Sequence[Form]) -> list[Answer]:
        connection, answers = http.client.HTTPConnection(host, timeout=600), []
        for form in share:
            start = time.perf_counter()
            connection.request("POST", "/v1/images/edits", form.body, form.headers)
            answer = connection.getresponse()
            body = answer.read()
            answers.append(Answer(time.perf_counter() - start, answer.status, body))
        connection.close()
        return answers

    start, cpu = time.perf_counter(), cpu_seconds(pid)
    with ThreadPoolExecutor(clients) as pool:
        shares = list(pool.map(client, [forms[i::clients] for i in range(clients)]))
    seconds, cpu = time.perf_counter() - start, cpu_seconds(pid) - cpu
    return [shares[i % clients][i // clients] for i in range(len(forms))], seconds, cpu


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # its own, and the kernel's for it
    return ticks / os.sysconf("SC_CLK_TCK")


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


def _cost(calls: Sequence[Callable[[], Any]], *, edits: int = 1) -> Cost:
    """Return the cost of an edit; each call makes `edits` of them."""
    seconds, cpu = [], time.process_time()
    for call in calls:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / len(calls)
    return Cost(statistics.median(seconds) / edits, cpu / edits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
