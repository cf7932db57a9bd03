"""Dashboards that show a run while it goes on: TensorBoard and Weights & Biases, both optional."""

import secrets
from typing import Any, Protocol

import numpy as np
from etils import epath

from jaxedit.config import ConfigError, TrainConfig, to_dict
from jaxedit.train.reporting import only_reported


class Dashboard(Protocol):
    """A place that takes reports; `name` says which."""

    name: str

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add the report of `step`."""

    def log_image(self, step: int, picture: np.ndarray) -> None:
        """Add the sample sheet u8[h,w,3] of `step`."""

    def close(self) -> None:
        """Write what is still in memory."""


class TensorBoard(Dashboard):
    """Event files in `workdir`/tb, for TensorBoard."""

    name = "TensorBoard"

    def __init__(self, workdir: epath.Path, start: int) -> None:
        """Begin; reports after step `start` are dropped.

        Raises:
          ConfigError: the package is missing.
        """
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ConfigError("tensorboard=True needs: pip install tensorboardX") from error
        self._writer = SummaryWriter(str(workdir / "tb"), purge_step=start + 1)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """See `Dashboard`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, step: int, picture: np.ndarray) -> None:
        """See `Dashboard`."""
        self._writer.add_image("samples", picture, step, dataformats="HWC")

    def close(self) -> None:
        """See `Dashboard`."""
        self._writer.close()


class Wandb(Dashboard):
    """Weights & Biases; a resumed run goes on in its curves."""

    name = "Weights & Biases"

    def __init__(self, config: TrainConfig, workdir: epath.Path) -> None:
        """Begin or go on.

        Raises:
          ConfigError: the package is missing.
        """
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(f"wandb={config.wandb!r} needs: pip install wandb") from error
        note = workdir / "wandb_id.txt"  # the same run has the same curves, another one never
        if not note.exists():
            note.write_text(secrets.token_hex(4), "utf-8")
        self._wandb: Any = wandb
        wandb.init(
            project=config.wandb,
            id=note.read_text("utf-8"),
            name=workdir.name,
            config=to_dict(config),
            dir=None if "://" in str(workdir) else str(workdir),
            resume="allow",
        )

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """See `Dashboard`."""
        self._wandb.log(values, step=step)

    def log_image(self, step: int, picture: np.ndarray) -> None:
        """See `Dashboard`."""
        self._wandb.log({"samples": self._wandb.Image(picture)}, step=step)

    def close(self) -> None:
        """See `Dashboard`."""
        self._wandb.finish()


def open_dashboards(config: TrainConfig, workdir: epath.Path, start: int) -> list[Dashboard]:
    """Those that the config turns on; one that cannot begin is left out, with a line in the log.

    Args:
      config: the run.
      workdir: of the run.
      start: the step after which reports are new.

    Raises:
      ConfigError: a package is missing.
    """
    found: list[Dashboard] = []
    if config.tensorboard:
        with only_reported(f"opening {TensorBoard.name}"):
            found.append(TensorBoard(workdir, start))
    if config.wandb:
        with only_reported(f"opening {Wandb.name}"):
            found.append(Wandb(config, workdir))
    return found
