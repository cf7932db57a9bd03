"""Checkpoints of a training run: asynchronous, restorable on any mesh; the only user of Orbax."""

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from jaxedit.config import ConfigError
from jaxedit.sharding.distributed import has_lost_a_process

LISTED = 4  # differences in a message
SHOWN = 300  # characters of Orbax's errors


class BucketError(OSError):
    """Remote storage refused a checkpoint; a later attempt may succeed."""


class Best(NamedTuple):
    """The checkpoint with the best value of the run's metric; of equal values, the earliest."""

    step: int
    value: float


class Checkpoints:
    """The checkpoints `<directory>/<step>/{state,data,config}` of one run.

    `save` returns as soon as the arrays are copied; a background thread writes them, and a
    checkpoint gets its final name only when it is complete. Leaving the context manager waits for
    the last write.
    """

    def __init__(
        self, directory: epath.PathLike, *, keep: int = 2, best_metric: str = "val/loss"
    ) -> None:
        """Open or create `directory`.

        Args:
          keep: number of newest checkpoints to keep, besides the best.
          best_metric: name of the metric that decides which is best: the lowest "val/loss", the
            highest of any other metric.
        """
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_NewestAndBest(keep, self.best),
            step_prefix=None,
            cleanup_tmp_directories=True,
        )
        self.directory = directory
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
        }
        self._best: Best | None = None
        self.best_metric = best_metric
        self._manager = ocp.CheckpointManager(directory, options=options, item_handlers=handlers)
        for step in sorted(self._manager.all_steps()):
            self._compare(step, self._saved_metrics(step))

    def __enter__(self) -> "Checkpoints":
        """Return the object itself."""
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the writes under way, unless another process of the run is lost."""
        if error is not None and has_lost_a_process(error):
            return
        with self._explained():
            self._manager.close()

    def latest(self) -> int | None:
        """Return the step of the newest complete checkpoint, None if there is none."""
        return self._manager.latest_step()

    def best(self) -> Best | None:
        """Return the checkpoint with the best metric, None if no checkpoint has that metric."""
        return self._best

    def save(
        self,
        step: int,
        state: Any,
        config: dict[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Start to write a checkpoint.

        Args:
          step: number of finished steps.
          state: pytree of arrays.
          config: of the run, as JSON values.
          metrics: of the state, if they were computed: "val/loss" and others.

        Raises:
          OSError: the disk has no room, or the last write failed; earlier checkpoints are intact.
            BucketError if a restart may help.
        """
        self._require_space(state)
        metrics = metrics or {}
        data = {"step": step, **metrics}  # batches are a function of the step alone
        self._compare(step, metrics)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=ocp.args.JsonSave(data),
            config=ocp.args.JsonSave(config),
        )
        with self._explained():
            self._manager.save(step, args=items)

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Return whether `best_metric` is finite, and better than in all checkpoints."""
        value = metrics.get(self.best_metric)
        if value is None or not math.isfinite(value):
            return False
        if self._best is None:
            return True
        best = self._best.value
        return value < best if self.best_metric == "val/loss" else value > best

    def wait(self) -> None:
        """Wait until all checkpoints are complete; raises OSError, see `save`."""
        with self._explained():
            self._manager.wait_until_finished()

    def _compare(self, step: int, metrics: Mapping[str, float]) -> None:
        """Remember a checkpoint if it is the best so far."""
        if self.is_best(metrics):
            self._best = Best(step, metrics[self.best_metric])

    def _saved_metrics(self, step: int) -> dict[str, float]:
        """Return the metrics saved under `step`; nothing if the file is damaged.

        Each process reads the file itself: reading by Orbax would synchronise all processes.
        """
        try:
            file = epath.Path(self.directory) / str(step) / "data" / "metadata"
            found = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def config(self, step: int) -> dict[str, Any]:
        """Return the config that was saved with `step`."""
        items = ocp.args.Composite(config=ocp.args.JsonRestore())
        return self._manager.restore(step, args=items)["config"]

    def restore(self, step: int, abstract: Any) -> Any:
        """Return the state saved under `step`, sharded as `abstract` says.

        Args:
          step: of a complete checkpoint, see `latest`.
          abstract: pytree of ShapeDtypeStructs with shardings, on any mesh.

        Raises:
          ConfigError: the checkpoint has other arrays than `abstract` (lists them), or is damaged.
        """
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        try:
            self._require_same(step, abstract)
            return self._manager.restore(step, args=items)["state"]
        except ConfigError:
            raise
        except (ValueError, KeyError, FileNotFoundError) as error:
            reason = " ".join(str(error).split())[:SHOWN]
            raise ConfigError(
                f"checkpoint {step} in {self.directory} cannot be read: {reason}"
            ) from error

    def _require_same(self, step: int, abstract: Any) -> None:
        """Raise ConfigError unless the checkpoint has the arrays of `abstract`.

        Orbax also compares them, but its error is a page long for each array.
        """
        stored = self._manager.item_metadata(step)["state"]
        if stored is None:
            raise ValueError("the list of its arrays is missing")
        saved, asked = _shapes(stored), _shapes(abstract)
        common = [p for p in asked if p in saved]
        differences = [
            *(f"{p} is {saved[p]}, not {asked[p]}" for p in common if saved[p] != asked[p]),
            *(f"{p} is only in this config" for p in asked if p not in saved),
            *(f"{p} is only in the checkpoint" for p in saved if p not in asked),
        ]
        if not differences:
            return
        model = self.config(step).get("model", {})
        kind = model.get("model_type", "unknown") if isinstance(model, dict) else "unknown"
        rest = f", and {len(differences) - LISTED} more" if len(differences) > LISTED else ""
        raise ConfigError(
            f"checkpoint {step} in {self.directory} does not fit this config: a model of type "
            f"{kind} lies there, and {len(differences)} of its arrays differ: "
            f"{'; '.join(differences[:LISTED])}{rest}; choose another --workdir"
        )

    def reached_preemption(self, step: int) -> bool:
        """Return True, in all processes at the same step, after SIGTERM in any of them."""
        return self._manager.reached_preemption(step)

    def _require_space(self, state: Any) -> None:
        """Raise OSError unless the disk of a local directory has room for the state."""
        if "://" in str(self.directory):
            return
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.directory).free
        if needed > free:
            raise OSError(
                f"{self.directory}: no room for a checkpoint: {needed / 1e6:.0f} MB needed, "
                f"{free / 1e6:.0f} MB free; the newest complete one is of step {self.latest()}"
            )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn Orbax's errors of writing into an OSError of one line."""
        try:
            yield
        except (ValueError, RuntimeError) as error:
            kind = BucketError if "://" in str(self.directory) else OSError
            reason = str(error).splitlines()[0]
            raise kind(f"{self.directory}: a checkpoint was not written: {reason}") from error


class _NewestAndBest:
    """The policy by which Orbax keeps checkpoints."""

    def __init__(self, keep: int, best: Callable[[], Best | None]) -> None:
        self._keep, self._best = keep, best

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return, for each checkpoint from the oldest on, whether it stays."""
        best = self._best()
        newest = len(checkpoints) - self._keep
        return [
            i >= newest or (best is not None and checkpoint.step == best.step)
            for i, checkpoint in enumerate(checkpoints)
        ]


def _shapes(state: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array by path, parameters first."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    found = {jax.tree_util.keystr(path, simple=True, separator="/"): x.shape for path, x in leaves}
    return {path: found[path] for path in sorted(found, key=lambda p: (p[:7] != "params/", p))}
