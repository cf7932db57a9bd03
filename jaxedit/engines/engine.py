"""The choice of the engine that runs independent jobs."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from jaxedit.config import require

Job = TypeVar("Job")
Seen = Callable[[], object]  # called after each piece of a job
Work = Callable[[Job, Seen], None]  # does a job; picklable, as the job is
EngineName = Literal["local", "ray"]


def require_engine(engine: EngineName) -> None:
    """Raise ConfigError unless the engine is installed; imports nothing."""
    require(
        engine != "ray" or importlib.util.find_spec("ray") is not None,
        "--engine=ray: Ray is not installed: pip install 'jaxedit[ray]'",
    )


def run_jobs(
    work: Work[Job], jobs: Sequence[Job], seen: Seen, *, engine: EngineName = "local", workers: int
) -> None:
    """Do all jobs; the first failure ends all of them.

    A job that is interrupted with its machine is done again from its beginning ("ray"), so a job
    must write its result as a whole, or skip what it finds done.

    Args:
      work: raises OSError or ValueError if a job fails.
      jobs: messages name a job by its `str`.
      seen: called here after each piece of any job.
      engine: "local" starts processes; "ray" uses the cluster that RAY_ADDRESS names, or one of
        this machine.
      workers: jobs at a time; "local" does the jobs of one worker in this process.

    Raises:
      OSError: a job failed, or its process was killed.
      ConfigError: the engine is not installed.
    """
    require_engine(engine)
    importlib.import_module(f"jaxedit.engines.{engine}").run_jobs(work, jobs, seen, workers)
