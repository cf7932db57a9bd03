"""Train a model: python -m jaxedit.train --config=configs/var_sar.py:tiny --workdir=runs/first

WORKDIR gets config.json, log.txt, metrics.jsonl, samples/, checkpoints/ and, at the end, export/
with the weights for `python -m jaxedit`. The same command resumes a run that was stopped.

With --dry_run it prints instead what a step would hold in the memory of each device.

Exit codes: 0 finished; 1 a dry run does not fit; 2 bad input; 3 the loss is not finite; 42 stopped
by SIGTERM and saved.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from jaxedit.config import ConfigError, require
from jaxedit.train import command

log = logging.getLogger("jaxedit")

TOO_LARGE, BAD_INPUT, DIVERGED, INTERRUPTED = 1, 2, 3, 42
CLUSTER = ("JAX_COORDINATOR_ADDRESS", "MEGASCALE_COORDINATOR_ADDRESS", "OMPI_MCA_orte_hnp_uri")
JAX_CLUSTER = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    if command.asks_for_help(argv):
        print(f"{__doc__}\n{command.help_text()}")
        return 0
    try:
        args = command.parse(argv)
        return _dry_run(args) if args.dry_run else _train(args)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT


def _train(args: command.Command) -> int:
    # Imported here, so that --help and wrong arguments answer at once.
    import jax
    from etils import epath

    from jaxedit import compile_cache
    from jaxedit.parallel.mesh import init_distributed
    from jaxedit.train import loop, metrics, systems

    if args.distributed == "on" or (args.distributed == "auto" and in_cluster(os.environ)):
        init_distributed(*cluster_of(os.environ))
    require(
        jax.process_count() == 1 or jax.distributed.is_initialized(),
        f"this is one of {jax.process_count()} hosts: start the command on all of them with "
        "--distributed=on",
    )
    workdir = epath.Path(args.workdir).absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    with logging_to(workdir, is_first=jax.process_index() == 0):
        log.info(
            "process %d of %d, %d devices of %d (%s)",
            *(jax.process_index(), jax.process_count()),
            *(jax.local_device_count(), jax.device_count(), jax.devices()[0].device_kind),
        )
        for name, value in args.overrides.items():
            log.info("--config.%s=%r", name, value)
        compile_cache.enable()
        try:
            loop.train(args.config, workdir, *systems.build(args.config))
        except metrics.TrainingDiverged as error:
            log.error("%s", error)
            return DIVERGED
        except loop.Interrupted as error:
            log.warning("%s", error)
            return INTERRUPTED
    return 0


def _dry_run(args: command.Command) -> int:
    import jax

    from jaxedit.parallel.memory import fits, room_of, table
    from jaxedit.train import memory

    devices = jax.device_count()
    room = room_of(jax.local_devices()[0], args.memory_gb)
    found = memory.entries(args.config, devices)
    changes = [] if fits(found, room) else memory.levers(args.config, devices)
    print(table(f"training, on each of {devices} devices:", found, room, changes))
    return 0 if fits(found, room) else TOO_LARGE


@contextlib.contextmanager
def logging_to(workdir: os.PathLike, *, is_first: bool) -> Iterator[None]:
    """Log to stdout and, in a local workdir, to log.txt; only warnings if not the first process."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if is_first and "://" not in str(workdir):
        handlers.append(logging.FileHandler(workdir / "log.txt"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO if is_first else logging.WARNING)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.propagate = True


def cluster_of(environment: Mapping[str, str]) -> tuple[str | None, int | None, int | None]:
    """Coordinator, number of processes and index where `JAX_CLUSTER` says so, else Nones."""
    address, count, index = (environment.get(name) for name in JAX_CLUSTER)
    return address, count and int(count), index and int(index)


def in_cluster(environment: Mapping[str, str]) -> bool:
    """Whether the environment says that this is one of several processes."""
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    tasks = int(environment.get("SLURM_NTASKS", "1")) if "SLURM_STEP_NODELIST" in environment else 1
    return len(hosts) > 1 or tasks > 1 or any(name in environment for name in CLUSTER)


def run() -> None:
    """Entry point of `jaxedit-train`."""
    sys.exit(main(sys.argv))


if __name__ == "__main__":
    run()
