"""Several processes as a single run: joining, logging each process, checking agreement."""

import hashlib
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from typing import NoReturn

import jax
import jaxlib
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxedit import __version__
from jaxedit.config import require

CLUSTER = ("JAX_COORDINATOR_ADDRESS", "MEGASCALE_COORDINATOR_ADDRESS", "OMPI_MCA_orte_hnp_uri")
TPU_CLUSTER = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")
JAX_CLUSTER = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
# Parts of the message of a collective or barrier that failed because another process has died.
LOST = (
    "Gloo",
    "NCCL operation",
    "remote process exited",
    "Socket closed",
    "heartbeat",
    "barrier",
    "UNAVAILABLE",
    "ABORTED",
    "DEADLINE_EXCEEDED",
)
_GRACE = 3.0  # seconds

log = logging.getLogger(__name__)


def join(mode: str, environment: Mapping[str, str]) -> None:
    """Join the other processes of the run; call before anything else uses a device.

    If a process does not come within five minutes, jax ends this process (exit code 134).

    Args:
      mode: "on", "off", or "auto": only if `environment` says that there are other processes.

    Raises:
      OSError: no cluster was found.
      ConfigError: the machine belongs to several hosts, but this process joined no other.
    """
    if mode == "on" or (mode == "auto" and in_cluster(environment)):
        try:
            jax.distributed.initialize(*cluster_of(environment))
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise OSError(
                f"cannot join a multi-process run: {reason} (was the command started on every "
                "host, for instance with --worker=all? a single host needs --distributed=off)"
            ) from error
    require(
        jax.process_count() == 1 or jax.distributed.is_initialized(),
        f"this process is on one of {jax.process_count()} hosts: start the command on all hosts "
        "with --distributed=on",
    )


def in_cluster(environment: Mapping[str, str]) -> bool:
    """Tell whether the environment says that this process is one of several."""
    hosts = max(len(environment.get(name, "").split(",")) for name in TPU_CLUSTER)
    tasks = int(environment.get("SLURM_NTASKS", "1")) if "SLURM_STEP_NODELIST" in environment else 1
    return hosts > 1 or tasks > 1 or any(name in environment for name in CLUSTER)


def cluster_of(environment: Mapping[str, str]) -> tuple[str | None, int | None, int | None]:
    """Return coordinator, number of processes and process index from `JAX_CLUSTER`, or Nones."""
    address, count, index = (environment.get(name) for name in JAX_CLUSTER)
    return address, count and int(count), index and int(index)


def log_process(mesh: Mesh) -> None:
    """Log in one line this process's index, host, devices, versions and mesh."""
    devices = jax.local_devices()
    slices = sorted({getattr(device, "slice_index", 0) for device in devices})
    axes = " ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
    log.info(
        f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()}: "
        f"{len(devices)} of {jax.device_count()} devices ({devices[0].device_kind}, from number "
        f"{devices[0].id}, slice {','.join(map(str, slices))}); jaxedit {__version__}, "
        f"jax {jax.__version__}, jaxlib {jaxlib.__version__}; mesh {axes}"
    )


def assert_same_on_all_hosts(values: Mapping[str, object]) -> None:
    """Check that all processes have equal values under equal names; all processes must call it.

    Only hashes of the values' `repr` are sent.

    Raises:
      ConfigError: some differ; the message names the process and the values.
    """
    if jax.process_count() == 1:
        return
    installed = {"jaxedit": __version__, "jax": jax.__version__, "the settings": sorted(values)}
    others = _differences(installed)
    require(not others, f"{_listed(others)}: install the same versions on every host")
    others = _differences(values)
    mine = others.get(jax.process_index()) or next(iter(others.values()), [])
    here = ", ".join(f"{name} is {values[name]!r}" for name in mine[:3])
    require(
        not others,
        f"{_listed(others)} (in process {jax.process_index()}, {here}): "
        "start the same command on every host",
    )


def check_is_shared(directory: epath.Path) -> None:
    """Check that all processes see the same directory; all processes must call it.

    Raises:
      ConfigError: some have a directory of their own; the message names the processes.
    """
    if jax.process_count() == 1:
        return
    note = directory / ".shared"
    if jax.process_index() == 0:
        note.write_text(secrets.token_hex(), "utf-8")
    multihost_utils.sync_global_devices("note")
    others = _differences({"note": note.read_text("utf-8") if note.exists() else ""})
    if jax.process_index() == 0:
        note.unlink()
    require(
        not others,
        f"--workdir={directory}: process {', '.join(map(str, others))} cannot see what process 0 "
        "writes there: expected storage that all hosts share",
    )


def _differences(values: Mapping[str, object]) -> dict[int, list[str]]:
    """Return, for each process that differs from process 0, the names of the differing values."""
    digests = [hashlib.sha256(repr(value).encode()).digest()[:8] for value in values.values()]
    mine = np.stack([np.frombuffer(digest, np.uint32) for digest in digests])
    everyone = np.asarray(multihost_utils.process_allgather(mine))  # u32[processes, names, 2]
    is_other = (everyone != everyone[:1]).any(-1)
    names = list(values)
    return {
        process: [name for name, is_different in zip(names, row, strict=True) if is_different]
        for process, row in enumerate(is_other)
        if row.any()
    }


def _listed(differences: dict[int, list[str]]) -> str:
    """Describe the differences for an error message."""
    parts = [
        f"process {process} differs from process 0 in {', '.join(names[:3])}"
        for process, names in differences.items()
    ]
    return "; ".join(parts[:3])  # a message names at most three processes


def has_lost_a_process(error: BaseException) -> bool:
    """Tell whether an error, or an error that caused it, means that another process has died."""
    if jax.process_count() == 1:
        return False
    if isinstance(error, TimeoutError) or any(word in str(error) for word in LOST):
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and has_lost_a_process(cause)


def exit_without_barrier(code: int) -> NoReturn:
    """End this process, which is one of several, without waiting for the others.

    The usual exit waits for all processes, which wait for this one. They end when they notice that
    it has gone. Process 0, without which all others end at once, exits last, so that the others can
    still report their errors.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(_GRACE)
    os._exit(code)
