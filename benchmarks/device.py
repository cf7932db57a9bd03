"""Speed of this machine's first device: memory bandwidth, and matrix products by type.

    python benchmarks/device.py --json=device.json

Calls are queued, so that starting them costs nothing if a call takes longer than that. The products
are square; `float32 highest` is the precision that keeps all bits, and `float32` the default.
"""

import argparse
import datetime
import json
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

PRODUCTS = {  # name -> dtype and precision
    "bfloat16": ("bfloat16", None),
    "float32": ("float32", None),
    "float32 highest": ("float32", "highest"),
}


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="file for the results")
    args = parser.parse_args()
    found = describe() | {"read_gb_s": measure_bandwidth() / 1e9, "copy_gb_s": measure_copy() / 1e9}
    found["tflops"] = {name: measure_product(*how) / 1e12 for name, how in PRODUCTS.items()}
    print("\n".join(f"{name}: {value}" for name, value in found.items()))
    write_json(args.json, found)


def describe() -> dict[str, Any]:
    """Return kind and number of devices, their data sheet, versions and the date."""
    import jax
    import jaxlib

    from jaxedit.planning.device_memory import memory_of_device, peak_flops

    device = jax.local_devices()[0]
    peak, memory = peak_flops(device.device_kind), memory_of_device(device).nbytes
    return {
        "date": datetime.date.today().isoformat(),
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "memory_gb": memory and memory / 1e9,
        "data_sheet_tflops": peak and peak / 1e12,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "backend": device.client.platform_version.splitlines()[0],
        "python": platform.python_version(),
    }


def measure_bandwidth(clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the bytes per second at which a sum over a large array reads memory."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones((1 << (26 if on_cpu() else 28),), jnp.float32)
    return x.nbytes / seconds_of(jax.jit(jnp.sum), x, clock=clock)


def measure_copy() -> float:
    """Return the bytes per second, read and written, of adding a number to a large array."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones((1 << (25 if on_cpu() else 28),), jnp.float32)
    return 2 * x.nbytes / seconds_of(jax.jit(lambda x: x + 1), x)


def measure_product(dtype: str, precision: str | None) -> float:
    """Return the operations per second of a product of two large random matrices."""
    import jax
    import jax.numpy as jnp

    n = 1024 if on_cpu() else 8192
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (n, n), dtype) for key in keys)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
    return 2 * n**3 / seconds_of(product, a, b)


def seconds_of(
    function: Callable[..., Any],
    *arguments: Any,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the seconds of a call: the best of three times ten queued calls, or one on CPU."""
    import jax

    calls = 1 if on_cpu() else 10
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(5 if on_cpu() else 3):
        start = clock()
        for _ in range(calls):
            made = function(*arguments)
        jax.block_until_ready(made)
        times.append((clock() - start) / calls)
    return min(times)


def on_cpu() -> bool:
    """Tell whether programs run on the CPU."""
    import jax

    return jax.default_backend() == "cpu"


def peak_memory() -> float:
    """Return the most memory so far in MB: of the device or, on CPU, of this process."""
    import resource

    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def write_json(path: pathlib.Path | None, results: Any) -> None:
    """Write results for `accelerator.py`, if a file is asked for."""
    if path is not None:
        path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
