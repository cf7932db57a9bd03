"""What a run reports: one line on screen, one line of JSON, sample sheets, optional dashboards."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
from etils import epath
from PIL import Image

from jaxedit.config import TrainConfig, to_dict
from jaxedit.train.dashboards import open_dashboards
from jaxedit.train.reporting import only_reported

log = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is not finite any more."""


class Window:
    """Means of the metrics since the last report, fetched one step late so that nothing waits.

    `add` of step n reads the numbers of step n - 1: by then the device works on step n.
    """

    def __init__(self, last_good: Callable[[], int | None]) -> None:
        """An empty window that starts now; `last_good` names the newest checkpoint's step."""
        self._last_good = last_good
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._values: list[dict[str, float]] = []
        self._is_compiled = False
        self._start_clock()

    def _start_clock(self) -> None:
        self._start, self._waited, self._timed = time.perf_counter(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Do not count the time inside: the run makes no steps."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Remember the metrics of finished step number `step`; read those of the step before.

        Raises:
          TrainingDiverged: the step before had a loss or gradient that is not finite.
        """
        self.flush()
        self._pending = (step, metrics)

    def flush(self) -> None:
        """Read the metrics that are still on the device.

        Raises:
          TrainingDiverged: the loss or the gradient norm is not finite.
        """
        if self._pending is None:
            return
        step, on_device = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(on_device).items()}
        for name in ("loss", "grad_norm"):
            if not math.isfinite(values[name]):
                raise TrainingDiverged(
                    f"{name} is {values[name]} at step {step}; "
                    f"last good checkpoint: {self._last_good()}"
                )
        self._values.append(values)
        self._timed += 1
        if not self._is_compiled:  # the first step does not count: it compiled
            self._is_compiled = True
            self._start_clock()

    def report(self, batch_size: int) -> dict[str, float]:
        """Mean metrics, img/s, s/step and the share of time spent on waiting; then start anew.

        The step that the device works on counts in the next report. Where only the step that
        compiled is over, there are no rates yet.
        """
        if not self._values:
            self.flush()
        seconds = time.perf_counter() - self._start
        means = {k: float(np.mean([v[k] for v in self._values])) for k in self._values[0]}
        means["lr"] = self._values[-1]["lr"]
        if self._timed:
            means |= {
                "img_per_s": self._timed * batch_size / seconds,
                "s_per_step": seconds / self._timed,
                "data_wait": self._waited / seconds,
            }
        self._values = []
        self._start_clock()
        return means


class Writer:
    """Writes reports to the log, `metrics.jsonl`, `samples/` and the dashboards that are on.

    Only the first process writes. What does not take a report costs no more than the report;
    sample sheets in a local directory must be written, however.
    """

    def __init__(self, workdir: epath.Path, config: TrainConfig, *, start: int) -> None:
        """Open the files; reports after step `start` (of a run that was cut short) are dropped."""
        self._on = jax.process_index() == 0
        self._is_remote = "://" in str(workdir)
        self._steps = config.steps
        self._samples = workdir / "samples"
        self._jsonl = workdir / "metrics.jsonl"
        self._dashboards = open_dashboards(config, workdir, start) if self._on else []
        if self._on:
            replace_text(workdir / "config.json", json.dumps(to_dict(config), indent=1))
            reports = self._jsonl.read_text("utf-8") if self._jsonl.exists() else ""
            self._reports = reports_until(reports, start)
            replace_text(self._jsonl, self._reports)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write the report of `step`."""
        if not self._on:
            return
        log.info(
            "step %d/%d  loss %.4f  lr %.2e  grad %.3f%s",
            *(step, self._steps, values["loss"], values["lr"], values["grad_norm"]),
            speed(values, self._steps - step),
        )
        with only_reported("writing metrics.jsonl"):
            self._append(json.dumps({"step": step, **values}) + "\n")
        self._show("scalars", step, values)

    def log_image(self, step: int, images: np.ndarray) -> None:
        """Write u8[rows, columns, H, W, 3] as one picture `samples/<step>.png`."""
        if not self._on:
            return
        picture = tile(np.asarray(images))
        with only_reported("writing a sample sheet") if self._is_remote else nullcontext():
            self._samples.mkdir(parents=True, exist_ok=True)
            with (self._samples / f"{step:07d}.png").open("wb") as file:
                Image.fromarray(picture).save(file, format="PNG")
        self._show("sheet", step, picture)

    def _append(self, line: str) -> None:
        if self._is_remote:  # buckets have no way to append
            self._reports += line
            replace_text(self._jsonl, self._reports)
        else:
            with self._jsonl.open("a", encoding="utf-8") as file:
                file.write(line)

    def _show(self, method: str, *arguments: Any) -> None:
        """Call a method of every dashboard."""
        for dashboard in self._dashboards:
            with only_reported(dashboard.name):
                getattr(dashboard, method)(*arguments)

    def __enter__(self) -> Self:
        """The object itself."""
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the dashboards."""
        self._show("close")


def speed(values: dict[str, float], steps_left: int) -> str:
    """The end of a report's line: what is known of the run's speed."""
    if "s_per_step" not in values:
        return ""
    mfu = f"  MFU {values['mfu']:.1%}" if "mfu" in values else ""
    eta = duration(steps_left * values["s_per_step"])
    wait = f"data wait {100 * values['data_wait']:.0f}%"
    return f"  {values['img_per_s']:.1f} img/s{mfu}  {wait}  ETA {eta}"


def reports_until(text: str, step: int) -> str:
    """The lines of a metrics.jsonl up to `step`; a line that a kill cut short is dropped too."""
    kept = []
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    return "".join(kept)


def replace_text(path: epath.Path, text: str) -> None:
    """Write a file that is never there by halves."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8")
    part.replace(path)


def tile(images: np.ndarray, gap: int = 2) -> np.ndarray:
    """u8[rows, columns, H, W, 3] as one picture u8[h, w, 3] with white lines of `gap` pixels."""
    pad = ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0))
    rows, columns, height, width, _ = (padded := np.pad(images, pad, constant_values=255)).shape
    picture = padded.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    return picture[:-gap, :-gap]


def duration(seconds: float) -> str:
    """Seconds as "1h02m", "2m05s" or "9s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
