"""Train a model: python -m jaxedit.train --config=configs/var_sar.py:tiny --workdir=runs/first

WORKDIR gets config.json, log.txt, metrics.jsonl, samples/, checkpoints/ and, at the end, export/
with the weights for `python -m jaxedit`. The same command resumes a run that was stopped.

With --dry_run it prints instead what a step would hold in the memory of each device; with
--devices=v5p-128 as well, of devices that are not here, and what they would send to each other.

Exit codes: 0 finished; 1 a dry run does not fit; 2 bad input; 3 the loss is not finite; 42
interrupted: stopped by SIGTERM and saved, or a bucket did not take a checkpoint. A run of several
processes that loses one ends with 42 or 134 within about 100 seconds. After 42, and from 127 on,
the same command goes on from the newest checkpoint.
"""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence

from jaxedit import console
from jaxedit.config import ConfigError, to_dict
from jaxedit.train import command

log = logging.getLogger("jaxedit")

FAILED = TOO_LARGE = 1
BAD_INPUT, DIVERGED, INTERRUPTED = 2, 3, 42


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    if command.asks_for_help(argv):
        print(f"{__doc__}\n{command.help_text()}")
        return 0
    try:
        args = command.parse(argv)
        if args.devices:
            return _dry_run_elsewhere(args)
        return _dry_run(args) if args.dry_run else _train(args)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (RuntimeError, AssertionError):
        return console.tell_missing_platform()


def _train(args: command.Command) -> int:
    # Imported here, so that --help and wrong arguments answer at once.
    import jax
    from etils import epath

    from jaxedit import compile_cache
    from jaxedit.checkpoint import BucketError
    from jaxedit.parallel import distributed
    from jaxedit.train import loop, metrics, systems
    from jaxedit.train.watchdog import JOIN, Watchdog

    with contextlib.ExitStack() as logs:
        try:
            with Watchdog() as watchdog:
                watchdog.enter(JOIN)
                distributed.join(args.distributed, os.environ)
                distributed.agree({"--workdir": args.workdir} | loop.settings(to_dict(args.config)))
            workdir = epath.Path(args.workdir).absolute()
            workdir.mkdir(parents=True, exist_ok=True)
            distributed.check_is_shared(workdir)
            logs.enter_context(logging_to(workdir, is_first=jax.process_index() == 0))
            for name, value in args.overrides.items():
                log.info("--config.%s=%r", name, value)
            compile_cache.enable()
            parts = systems.build(args.config)
            loop.train(args.config, workdir, *parts, profile_steps=args.profile_steps)
        except metrics.TrainingDiverged as error:
            log.error("%s", error)
            return DIVERGED
        except loop.Interrupted as error:
            log.warning("%s", error)
            return INTERRUPTED
        except Exception as error:
            has_lost_one = distributed.has_lost_a_process(error)
            if not has_lost_one and not isinstance(error, BucketError):
                raise
            what = "another process has ended" if has_lost_one else "interrupted"
            log.error("%s; the same command resumes: %s", what, error)
            if jax.process_count() > 1:
                distributed.abandon(INTERRUPTED)
            return INTERRUPTED
    return 0


def _dry_run(args: command.Command) -> int:
    import jax

    from jaxedit.parallel.choice import Machine
    from jaxedit.parallel.memory import fits, room_of, table
    from jaxedit.train import memory
    from jaxedit.train.mesh import chosen_mesh

    devices = jax.device_count()
    room = room_of(jax.local_devices()[0], args.memory_gb)
    objective = memory.abstract_objective(args.config)
    args.config.mesh = chosen_mesh(args.config, objective, Machine(devices, 1, room))
    found = memory.entries(args.config, devices)
    changes = [] if fits(found, room) else memory.levers(args.config, devices, room)
    print(table(f"training, on each of {devices} devices:", found, room, changes))
    return 0 if fits(found, room) else TOO_LARGE


def _dry_run_elsewhere(args: command.Command) -> int:
    from jaxedit.parallel import topology

    pod = topology.pod(args.devices)
    room = topology.room_on(pod, args.memory_gb)
    from jaxedit.train import dry_run

    print(f"compiling a step for {pod.name}; this takes minutes", file=sys.stderr, flush=True)
    found = dry_run.dry_run(args.config, pod, room)
    print(dry_run.text(found, args.config))
    return 0 if found.fits else TOO_LARGE


@contextlib.contextmanager
def logging_to(workdir: os.PathLike, *, is_first: bool) -> Iterator[None]:
    """Log to stdout and, in a local workdir, to log.txt; processes but the first only warn.

    Every process says who it is, however.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if is_first and "://" not in str(workdir):
        handlers.append(logging.FileHandler(workdir / "log.txt", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
    introductions = log.getChild("parallel.distributed")
    levels = log.level, introductions.level
    log.propagate = False
    log.setLevel(logging.INFO if is_first else logging.WARNING)
    introductions.setLevel(logging.INFO)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.propagate = True
        log.setLevel(levels[0])
        introductions.setLevel(levels[1])


def run() -> None:
    """Entry point of `jaxedit-train`."""
    console.prepare_streams()
    try:
        code = main(sys.argv)
    except Exception:
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        code = FAILED
    if code in (FAILED, BAD_INPUT) and _is_one_of_several():
        from jaxedit.parallel.distributed import abandon

        abandon(code)
    sys.exit(code)


def _is_one_of_several() -> bool:
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


if __name__ == "__main__":
    run()
