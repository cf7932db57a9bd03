"""The start of a run, in one process or several, and the exit code at its end."""

import contextlib
import logging
import os

import jax

from jaxedit import compile_cache
from jaxedit.checkpoints.train_state import BucketError
from jaxedit.config import to_dict
from jaxedit.console import DONE, STOPPED
from jaxedit.sharding import distributed
from jaxedit.train import loop
from jaxedit.train.command import Command
from jaxedit.train.initial_state import flat_settings
from jaxedit.train.metrics import TrainingDiverged
from jaxedit.train.objectives import registry
from jaxedit.train.run_log import RunLog
from jaxedit.train.stop_signal import Interrupted
from jaxedit.train.watchdog import BUILD, JOIN, Watchdog
from jaxedit.train.workdir import Workdir

DIVERGED, INTERRUPTED = 3, 42

log = logging.getLogger(__name__)


def start(args: Command, run_log: RunLog, watchdog: Watchdog, workdirs: list[Workdir]) -> int:
    """Join the other processes, open the directory, load weights and data, train.

    Args:
      args: the command line.
      run_log: gets a file in the directory.
      watchdog: logs the phases before the loop, which has a watchdog of its own.
      workdirs: holds the directory while it is open, for `__main__` to clean up.

    Returns:
      The exit code.

    Raises:
      ConfigError, OSError: bad input.
    """
    try:
        watchdog.enter(JOIN)
        distributed.join(args.distributed, os.environ)
        distributed.assert_same_on_all_hosts(
            {"--workdir": args.workdir} | flat_settings(to_dict(args.config))
        )
        with contextlib.ExitStack() as stack:
            workdir = stack.enter_context(Workdir(args.workdir))
            workdirs.append(workdir)
            stack.callback(workdirs.clear)
            run_log.settle(workdir.path, is_first=jax.process_index() == 0)
            for name, value in args.overrides.items():
                log.info("--config.%s=%r", name, value)
            watchdog.enter(BUILD)
            compile_cache.enable()
            parts = registry.build(args.config)
            watchdog.rest()
            loop.train(args.config, workdir.path, *parts, profile_steps=args.profile_steps)
    except TrainingDiverged as error:
        log.error("%s", error)
        return DIVERGED
    except Interrupted as error:
        log.warning("%s", error)
        return STOPPED if error.by == "Ctrl-C" else INTERRUPTED
    except Exception as error:
        has_lost_one = distributed.has_lost_a_process(error)
        if not has_lost_one and not isinstance(error, BucketError):
            raise
        what = "another process has ended" if has_lost_one else "interrupted"
        log.error("%s; the same command resumes: %s", what, error)
        if jax.process_count() > 1:
            distributed.exit_without_barrier(INTERRUPTED)
        return INTERRUPTED
    return DONE
