"""The server under mixed requests, good and broken: lost and wrong answers, and memory.

    python benchmarks/serve_fuzz.py --clients=32 --requests=1000 --max_batch=4

The requests are those of tests/serve/mixed_requests.py; every good edit must be, bit for bit, what
it is when nobody else asks. The first fifth warms up. Then schemathesis, where it is installed
(pip install schemathesis), reads the server's OpenAPI description and tries every operation, of a
server whose editor compiles nothing.
After a lost or a wrong answer, or a failure of schemathesis, the exit code is 1.
"""

import argparse
import collections
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from serve import memory, server

from jaxedit.config import ServeConfig
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.serve.app import create_app
from jaxedit.serve.service import EditService

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests" / "serve"))
from mixed_requests import GOOD, Request, fault_of, good, mixed, pictures_of, send  # noqa: E402
from serving import FakeEditor, listening  # noqa: E402

MAX_UPLOAD_MB = 1
ROUNDS = 5  # of which the first warms up


def main(argv: Sequence[str]) -> int:
    """Print the table; return 1 if an answer was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="toy-varedit")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--max_batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=100, help="of schemathesis, by operation")
    args = parser.parse_args(argv)
    limit = f"--max_upload_mb={MAX_UPLOAD_MB}"
    with server(args.model, args.max_batch, args.clients, limit) as (address, pid):
        print(f"{args.model}, --max_batch={args.max_batch}, {args.clients} clients")
        faults = fuzz(address, pid, args.clients, args.requests, args.seed)
    failed = check_description(args.model, args.examples, args.seed)
    return int(faults > 0 or failed)


def fuzz(address: str, pid: int, clients: int, count: int, seed: int) -> int:
    """Print what became of mixed requests; return the number of lost and wrong answers."""
    url = urllib.parse.urlsplit(address)
    place = (url.hostname, url.port)
    alone = [pictures_of(send(place, good(number))) for number in range(GOOD)]

    def fault(request: Request) -> str | None:
        return fault_of(request, send(place, request), alone)

    requests = list(mixed(count, seed, max_bytes=MAX_UPLOAD_MB * 1_000_000))
    size, faults, sizes = -(-count // ROUNDS), [], []
    with ThreadPoolExecutor(clients) as pool:
        for start in range(0, count, size):
            faults += pool.map(fault, requests[start : start + size])
            time.sleep(1)  # for the edits of clients that left
            sizes.append(f"{memory(pid):.0f} MB, {open_files(pid)} files")
    counts = collections.Counter(request.kind for request in requests)
    for kind, number in counts.most_common():
        print(f"{kind:<20} {number}")
    found = [(r.kind, f) for r, f in zip(requests, faults, strict=True) if f]
    lost = sum(fault == "lost" for _, fault in found)
    print(f"of {count}: lost {lost}, wrong {len(found) - lost}")
    print(f"server after each fifth: {'; '.join(sizes)}")
    for kind, fault in found[:20]:
        print(f"  {kind}: {fault}")
    return len(found)


def check_description(model: str, examples: int, seed: int) -> bool:
    """Let schemathesis compare a server with its description; return whether they differ."""
    if not importlib.util.find_spec("schemathesis"):
        print("schemathesis is not installed: the OpenAPI description was not checked")
        return False
    editor = FakeEditor(ensure_converted(model))
    service = EditService(ServeConfig(), [model], load=lambda name: editor)
    common = [
        # Whether a value fits depends on the model and on the other values.
        "--exclude-checks=positive_data_acceptance",
        *(f"--max-examples={examples}", f"--seed={seed}", "--no-color", "--continue-on-failure"),
    ]
    # schemathesis keeps what it found in its folder
    with listening(create_app(service)) as (address, _), tempfile.TemporaryDirectory() as folder:
        service.warm_up.result(60)
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"]
        codes = [
            subprocess.run([*command, *common, *phase], cwd=folder, check=False).returncode
            for phase in (
                ("--phases=examples,coverage,stateful",),
                # schemathesis fails on wrong files that it makes itself: "Unsupported type"
                ("--phases=fuzzing", "--mode=positive"),
            )
        ]
    return any(codes)


def open_files(pid: int) -> int:
    """Return the number of files and connections that a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
