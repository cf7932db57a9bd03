"""Reports of a run: log, metrics.jsonl and .png, samples/, dashboards; no failure ends the run."""

import importlib.util
import json
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import UInt8
from PIL import Image

from jaxedit.atomic_write import atomic_write
from jaxedit.checkpoints.train_state import Best
from jaxedit.config import ConfigError, TrainConfig, to_dict
from jaxedit.editor.show import side_by_side
from jaxedit.train.curves import draw_curves

# metrics of a validation that are logged if it has them, in this order
HEADLINES = ("loss", "accuracy", "psnr", "success", "psnr_background")
BY_TYPE = "val/success_"  # begins the names of the success of each edit type
LARGEST = 1024  # pixels, long side of a picture on a sample sheet
DRAW_EVERY = 30.0  # seconds between drawings of metrics.png, which take about half a second

log = logging.getLogger(__name__)


@contextmanager
def only_reported(what: str) -> Iterator[None]:
    """Log a failure of the block in one line and go on after it; ConfigError is still raised.

    It is for speed, profiles and dashboards, which training does not need. The log line begins with
    `what` and goes on with "failed".
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # any: those of dashboards and buckets have no common type
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s failed, the run goes on: %s", what, reason[:300])


class MetricWriter:
    """Writes reports to the log, `metrics.jsonl`, `samples/` and the dashboards that are on.

    Only the first process writes. If a file or a dashboard fails, only the report is lost; a sample
    sheet that cannot be written to a local directory ends the run, however.
    """

    def __init__(self, workdir: epath.Path, config: TrainConfig, *, start: int) -> None:
        """Open the files; drop reports after step `start`, of a run that was cut short."""
        self._on = jax.process_index() == 0
        self._is_remote = "://" in str(workdir)
        self._steps, self._best_metric = config.steps, config.best_metric
        self._samples = workdir / "samples"
        self._jsonl = workdir / "metrics.jsonl"
        self._dashboards = open_dashboards(config, workdir, start) if self._on else []
        if self._on:
            replace_text(workdir / "config.json", json.dumps(to_dict(config), indent=1))
            reports = self._jsonl.read_text("utf-8") if self._jsonl.exists() else ""
            self._reports = reports_until(reports, start)
            replace_text(self._jsonl, self._reports)

    def write_scalars(self, step: int, values: dict[str, float]) -> None:
        """Write the report of `step`."""
        if not self._on:
            return
        log.info(
            f"step {step}/{self._steps}  loss {values['loss']:.4f}  lr {values['lr']:.2e}  "
            f"grad {values['grad_norm']:.3f}{describe_speed(values, self._steps - step)}"
        )
        self._write_values(step, values)

    def write_validation(self, step: int, values: dict[str, float], best: Best | None) -> None:
        """Write the metrics of a validation at `step`, val/..., if any; log the best so far."""
        if not self._on or not values:
            return
        names = [f"val/{name}" for name in HEADLINES if f"val/{name}" in values]
        known = "".join(f"  {name} {values[name]:.4f}" for name in names)
        so_far = f"  best {self._best_metric} {best.value:.4f} at step {best.step}" if best else ""
        log.info(f"step {step}/{self._steps}{known}{so_far}")
        types = [name for name in values if name.startswith(BY_TYPE)]
        if types:
            shares = (f"{name.removeprefix(BY_TYPE)} {values[name]:.2f}" for name in types)
            log.info(f"step {step}/{self._steps}  success of {', '.join(shares)}")
        self._write_values(step, values)

    def write_sheet(
        self,
        step: int,
        images: UInt8[np.ndarray, "rows columns H W 3"],
        columns: Sequence[str],
        instructions: Sequence[str],
        *,
        name: str = "samples",
    ) -> None:
        """Write the sheet "samples" to samples/<step>.png, others to samples/<step>-<name>.png.

        Args:
          step: number of finished steps.
          images: the pictures.
          columns: what each column shows.
          instructions: of each row.
          name: of the sheet.
        """
        if not self._on:
            return
        picture = sheet_of(images, columns, instructions)
        with only_reported("writing a sample sheet") if self._is_remote else nullcontext():
            self._samples.mkdir(parents=True, exist_ok=True)
            suffix = "" if name == "samples" else f"-{name}"
            with (self._samples / f"{step:07d}{suffix}.png").open("wb") as file:
                Image.fromarray(picture).save(file, format="PNG")
        self._tell_dashboards("write_image", step, name, picture)

    def _write_values(self, step: int, values: dict[str, float]) -> None:
        with only_reported("writing metrics.jsonl"):
            self._append(json.dumps({"step": step, **values}) + "\n")
        self._tell_dashboards("write_scalars", step, values)

    def _append(self, line: str) -> None:
        if self._is_remote:  # buckets have no way to append
            self._reports += line
            replace_text(self._jsonl, self._reports)
        else:
            with self._jsonl.open("a", encoding="utf-8") as file:
                file.write(line)

    def _tell_dashboards(self, method: str, *arguments: Any) -> None:
        for dashboard in self._dashboards:
            with only_reported(dashboard.name):
                getattr(dashboard, method)(*arguments)

    def __enter__(self) -> "MetricWriter":
        """Return the object itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the dashboards."""
        self._tell_dashboards("close")


class Dashboard:
    """A service that shows reports."""

    name: str

    def write_scalars(self, step: int, values: dict[str, float]) -> None:
        """Add the report of `step`."""

    def write_image(self, step: int, name: str, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Add a sheet of `step`: "samples" or "validation"."""

    def close(self) -> None:
        """Write everything that is still in memory."""


class TensorBoard(Dashboard):
    """Event files in `workdir`/tb, for TensorBoard."""

    name = "TensorBoard"

    def __init__(self, workdir: epath.Path, start: int) -> None:
        """Open the files; drop reports after step `start`.

        Raises:
          ConfigError: the package is missing.
        """
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ConfigError("tensorboard=True needs: pip install tensorboardX") from error
        self._writer = SummaryWriter(str(workdir / "tb"), purge_step=start + 1)

    def write_scalars(self, step: int, values: dict[str, float]) -> None:
        """See `Dashboard`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def write_image(self, step: int, name: str, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """See `Dashboard`."""
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """See `Dashboard`."""
        self._writer.close()


class Wandb(Dashboard):
    """Weights & Biases; a resumed run continues its curves."""

    name = "Weights & Biases"

    def __init__(self, config: TrainConfig, workdir: epath.Path) -> None:
        """Open the run, or continue it.

        Raises:
          ConfigError: the package is missing.
        """
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(f"wandb={config.wandb!r} needs: pip install wandb") from error
        note = workdir / "wandb_id.txt"  # only the same run has the same curves
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

    def write_scalars(self, step: int, values: dict[str, float]) -> None:
        """See `Dashboard`."""
        self._wandb.log(values, step=step)

    def write_image(self, step: int, name: str, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """See `Dashboard`."""
        self._wandb.log({name: self._wandb.Image(picture)}, step=step)

    def close(self) -> None:
        """See `Dashboard`."""
        self._wandb.finish()


class Curves(Dashboard):
    """The picture `workdir`/metrics.png of all reports in metrics.jsonl, also of earlier runs."""

    name = "metrics.png"

    def __init__(self, workdir: epath.Path) -> None:
        """Draw nothing yet: there is little to see in the first seconds."""
        self._jsonl, self._png = workdir / "metrics.jsonl", workdir / "metrics.png"
        self._opened = self._drawn = time.monotonic()

    def write_scalars(self, step: int, values: dict[str, float]) -> None:
        """Draw, if the picture is older than DRAW_EVERY."""
        if time.monotonic() - self._drawn >= DRAW_EVERY:
            self._draw()

    def close(self) -> None:
        """Draw the last reports, unless the run was that short."""
        if time.monotonic() - self._opened >= DRAW_EVERY:
            self._draw()

    def _draw(self) -> None:
        figure = draw_curves(self._jsonl.read_text("utf-8"))
        with atomic_write(self._png) as part, part.open("wb") as file:
            figure.savefig(file, format="png", dpi=100)
        self._drawn = time.monotonic()


def open_dashboards(config: TrainConfig, workdir: epath.Path, start: int) -> list[Dashboard]:
    """Open the curves and the dashboards that the config turns on, but for those that fail to open.

    Raises:
      ConfigError: a package is missing.
    """
    found: list[Dashboard] = []
    if importlib.util.find_spec("matplotlib"):
        found.append(Curves(workdir))
    else:
        log.info("metrics.png is not drawn: pip install matplotlib")
    if config.tensorboard:
        with only_reported(f"opening {TensorBoard.name}"):
            found.append(TensorBoard(workdir, start))
    if config.wandb:
        with only_reported(f"opening {Wandb.name}"):
            found.append(Wandb(config, workdir))
    return found


def describe_speed(values: dict[str, float], steps_left: int) -> str:
    """Return the end of a report's line: speed, MFU, data wait and ETA, as far as known."""
    if "s_per_step" not in values:
        return ""
    mfu = f"  MFU {values['mfu']:.1%}" if "mfu" in values else ""
    eta = format_duration(steps_left * values["s_per_step"])
    wait = f"data wait {100 * values['data_wait']:.0f}%"
    return f"  {values['img_per_s']:.1f} img/s{mfu}  {wait}  ETA {eta}"


def format_duration(seconds: float) -> str:
    """Return seconds as "1h02m", "2m05s" or "9s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def reports_until(text: str, step: int) -> str:
    """Return the lines of a metrics.jsonl up to `step`, without a line that a kill cut short."""
    kept = []
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    return "".join(kept)


def replace_text(path: epath.Path, text: str) -> None:
    """Write a file that is never incomplete."""
    with atomic_write(path) as part:
        part.write_text(text, "utf-8")


def sheet_of(
    images: UInt8[np.ndarray, "rows columns H W 3"],
    columns: Sequence[str],
    instructions: Sequence[str],
) -> UInt8[np.ndarray, "h w 3"]:
    """Join images to one picture: each row under its instruction and the names of the columns."""
    rows = [
        side_by_side([Image.fromarray(image) for image in row], columns, words, most=LARGEST)
        for row, words in zip(images, instructions, strict=True)
    ]
    return np.concatenate([np.asarray(row) for row in rows])
