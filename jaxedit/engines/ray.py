"""Jobs on the machines of a Ray cluster; a job whose machine dies is done again on another.

Ray has no place in `local`: it takes seconds to start and is needed only beyond one machine.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from jaxedit.engines.engine import Job, Seen, Work

RETRIES = 10  # times that a job is begun again after its machine or its process died


def run_jobs(work: Work[Job], jobs: Sequence[Job], seen: Seen, workers: int) -> None:
    """Do all jobs; see `engine.run_jobs`. Each takes a CPU, and what `_accelerators` says.

    `seen` is called for all pieces of a job when it is done.
    """
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False, configure_logging=False)  # reads RAY_ADDRESS
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    run = ray.remote(num_cpus=1, max_retries=RETRIES, **_accelerators(nodes))(_work)
    waiting, running = list(jobs)[::-1], {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop()
                running[run.remote(work, job, os.getcwd())] = job
            (done,), _ = ray.wait(list(running))
            job = running.pop(done)
            try:
                pieces, failure = ray.get(done)
            except ray.exceptions.RayError as error:
                reason = " ".join(str(error).split())
                raise OSError(f"{job}: {reason}") from error
            if failure:
                raise OSError(f"{job}: {failure}")
            for _ in range(pieces):
                seen()
    finally:
        for task in running:
            ray.cancel(task, force=True)


def _accelerators(nodes: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the options of a task that takes a GPU, or all TPU chips of a host.

    Args:
      nodes: the resources of each machine of the cluster; empty options if it has neither.
    """
    if any(node.get("GPU") for node in nodes):
        return {"num_gpus": 1}
    # A process with some chips of a host would have to be told which, and how they are connected.
    chips = [node["TPU"] for node in nodes if node.get("TPU")]
    return {"resources": {"TPU": max(chips)}} if chips else {}


def _work(work: Work[Job], job: Job, folder: str) -> tuple[int, str]:
    """Do a job in another process; return the number of its pieces, and why it failed or "".

    Args:
      folder: from which the relative paths of the job start.
    """
    pieces = 0

    def seen() -> None:
        nonlocal pieces
        pieces += 1

    try:
        os.chdir(folder)
        work(job, seen)
    except Exception as error:  # told where the jobs were started
        is_told = isinstance(error, OSError | ValueError)
        return pieces, str(error) if is_told else repr(error)
    return pieces, ""
