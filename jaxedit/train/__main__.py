"""Train a model.

    python -m jaxedit.train --config=configs/var_sar.py
    python -m jaxedit.train --config=configs/var_sar.py:2b --workdir=gs://my-bucket/2b
    python -m jaxedit.train --config=configs/var_sar.py --help-settings

The first preset is `tiny`, the default directory of the run (WORKDIR) is runs/FILE-PRESET. It gets
config.json, log.txt, metrics.jsonl, samples/, checkpoints/ and, at the end, export/ with the
weights for `python -m jaxedit`. The same command resumes a run that was stopped. --help-settings
lists everything that --config.NAME=VALUE can change.

With --dry_run it prints the memory that a step needs on each device instead; with also
--devices=v5p-128, for devices that are not here, and what they send to each other.

SIGTERM and Ctrl-C save and stop; Ctrl-C before the first step, or a second time, ends at once.
Exit codes: 0 finished; 1 a dry run does not fit; 2 bad input, or another run is in WORKDIR; 3 the
loss is not finite; 42 interrupted: stopped by SIGTERM and saved, or a bucket did not take a
checkpoint; 130 ended by Ctrl-C. A run of several processes that loses a process ends with 42 or 134
within about 100 seconds. After 42, and from 127 on, the same command goes on from the newest
checkpoint.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit import console
from jaxedit.config import ConfigError
from jaxedit.console import BAD_INPUT
from jaxedit.train import help_pages
from jaxedit.train.run_log import RunLog
from jaxedit.train.stop_signal import end_now, on_ctrl_c
from jaxedit.train.watchdog import IMPORT, Watchdog

if TYPE_CHECKING:
    import jaxedit.train.command

FAILED = TOO_LARGE = 1


def main(argv: Sequence[str]) -> int:
    """Run the command and return the exit code."""
    try:
        if page := help_pages.asks_for_help(argv):
            is_short = page == "--help"
            text = help_pages.help_text() if is_short else help_pages.help_settings(argv)
            print(f"{__doc__}\n{text}" if is_short else text)
            return 0
        from jaxedit.train import command

        args = command.parse(argv)
        for note in args.notes:
            print(note, flush=True)
        if not args.dry_run:
            return _train(args)
        with on_ctrl_c(lambda: end_now("Ctrl-C: stopped")):
            return _dry_run_elsewhere(args) if args.devices else _dry_run(args)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (RuntimeError, AssertionError):
        return console.tell_missing_platform()


def _train(args: "jaxedit.train.command.Command") -> int:
    """Train; log a first line before the packages that are slow to import."""
    workdirs: list[Any] = []  # holds the run's directory while it is open

    def give_up() -> None:
        for workdir in workdirs:
            workdir.leave()
        end_now("Ctrl-C: ended before the first step")

    with RunLog() as run_log, on_ctrl_c(give_up), Watchdog(IMPORT) as watchdog:
        from jaxedit.train.start import start

        return start(args, run_log, watchdog, workdirs)


def _dry_run(args: "jaxedit.train.command.Command") -> int:
    import jax

    from jaxedit.planning.device_memory import fits, memory_of_device, table
    from jaxedit.planning.mesh_choice import Machine
    from jaxedit.train import step_memory
    from jaxedit.train.objectives.registry import abstract_objective
    from jaxedit.train.training_mesh import chosen_mesh

    devices = jax.device_count()
    memory = memory_of_device(jax.local_devices()[0], args.memory_gb)
    objective = abstract_objective(args.config)
    args.config.mesh = chosen_mesh(args.config, objective, Machine(devices, 1, memory))
    items = step_memory.memory_items(args.config, devices)
    is_fitting = fits(items, memory)
    savings = [] if is_fitting else step_memory.memory_savings(args.config, devices, memory)
    print(table(f"training, on each of {devices} devices:", items, memory, savings))
    return 0 if is_fitting else TOO_LARGE


def _dry_run_elsewhere(args: "jaxedit.train.command.Command") -> int:
    from jaxedit.planning import topology

    pod = topology.pod(args.devices)
    memory = topology.memory_of_pod(pod, args.memory_gb)
    from jaxedit.train import dry_run

    print(f"compiling a step for {pod.name}; this takes minutes", file=sys.stderr, flush=True)
    found = dry_run.dry_run(args.config, pod, memory)
    print(dry_run.text(found, args.config))
    return 0 if found.fits else TOO_LARGE


def run() -> None:
    """Run the command `jaxedit train`."""
    console.prepare_streams()
    try:
        code = main(sys.argv)
    except Exception:
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        code = FAILED
    if code in (FAILED, BAD_INPUT) and _is_one_of_several():
        from jaxedit.sharding.distributed import exit_without_barrier

        exit_without_barrier(code)
    sys.exit(code)


def _is_one_of_several() -> bool:
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


if __name__ == "__main__":
    run()
