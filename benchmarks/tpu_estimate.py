"""What the TPU compiler estimates of a program, found in its text; nothing is executed."""

import os
import re
from collections.abc import Callable

BANDWIDTH = {"v4": 1200, "v5e": 819, "v5p": 2765, "v6e": 1638}  # published, GB/s
CLOCK = 1.5  # GHz, turns cycles into time
_WHERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def one_chip(topology: str):
    """Return the sharding of a described TPU's first chip; call it before jax is used."""
    os.environ.update(_WHERE)
    import jax
    from jax.experimental import topologies

    chip = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
    return jax.sharding.SingleDeviceSharding(chip)


def cycles_of_program(text: str) -> int:
    """Return the estimated cycles of a whole compiled program, loops as often as they run."""
    entry = re.search(r"^ENTRY (%[\w.\-]+)", text, re.MULTILINE)[1]
    return _counter(text)(entry)


def cycles_of_longest_loop(text: str) -> int:
    """Return the estimated cycles of one pass through the longest loop, inner loops included."""
    return max(map(_counter(text), re.findall(r" while\(.*?body=(%[\w.\-]+)", text)))


def _counter(text: str) -> Callable[[str], int]:
    """Return a function from the name of a computation to its estimated cycles."""
    computations: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if header := re.match(r"(?:ENTRY )?(%[\w.\-]+) \(.*\{\s*$", line):
            lines = computations.setdefault(header[1], [])
        else:
            lines.append(line)

    def cycles(name: str) -> int:
        total = 0
        for line in computations[name]:
            if body := re.search(r" while\(.*body=(%[\w.\-]+)", line):
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
                total += cycles(body[1]) * (int(trips[1]) if trips else 1)
            elif estimate := re.search(r'"estimated_cycles":"(\d+)"', line):
                total += int(estimate[1])
        return total

    return cycles
