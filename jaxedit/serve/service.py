"""The service behind every door of the server: models, a queue, and the thread that edits."""

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from PIL import Image

from jaxedit.analyse.attention import measure_edit
from jaxedit.assets import ROOT
from jaxedit.config import ServeConfig, VAREditConfig
from jaxedit.config.families import sizes_of
from jaxedit.editor.editor import Editor, EditResult
from jaxedit.editor.pipeline import Progress
from jaxedit.serve.edit_request import EditRequest, checked_request
from jaxedit.serve.errors import invalid
from jaxedit.serve.jobs import EditFailed, Job, JobQueue
from jaxedit.serve.metrics import Metrics
from jaxedit.serve.models import ServedModels, editor_loader

log = logging.getLogger(__name__)


class EditService:
    """Edits in batches, from any thread: `request`, then `submit`, then `job.future.result()`."""

    def __init__(
        self,
        config: ServeConfig,
        names: Sequence[str] = ("toy-varedit",),
        *,
        placement: Mapping[str, Any] | None = None,
        load: Callable[[str], Editor] | None = None,
    ) -> None:
        """Read the models' settings; `start` loads the first of them.

        Args:
          config: checked.
          names: of the models, see `ServedModels`.
          placement: how the weights are kept, see `Command.placement`.
          load: loads a model instead of `editor_loader`.

        Raises:
          ValueError, OSError: see `ServedModels`.
        """
        load = load or editor_loader(config.max_batch, placement or {})
        self.config = config
        self.models = ServedModels(names, max_loaded=config.max_loaded, load=load)
        wait = config.batch_wait_ms / 1000
        self.queue = JobQueue(config.max_queue, max_batch=config.max_batch, wait=wait)
        self.metrics = Metrics(waiting=self.queue.__len__, loaded=lambda: len(self.models.loaded))
        self.decoders = asyncio.Semaphore(2)  # bounds the memory of pictures that are read
        self.warm_up: Future[None] = Future()  # done when the first model is ready
        self._thread = threading.Thread(target=self._run, name="edits", daemon=True)

    @property
    def is_ready(self) -> bool:
        """Return whether the first model is loaded and compiled."""
        return self.warm_up.done() and not self.warm_up.exception()

    def start(self) -> None:
        """Start to edit, once; the first model is loaded and compiled before the first edit."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """Cancel the edits that wait, and wait for those that run."""
        self.queue.close()
        if self._thread.is_alive():
            self._thread.join()

    def request(
        self,
        image: Image.Image,
        instruction: str,
        *,
        model: str | None = None,
        mask: Image.Image | np.ndarray | None = None,
        **options: Any,
    ) -> EditRequest:
        """Return an edit's request, checked; see `checked_request`.

        Args:
          model: its name at this server; None: the first.

        Raises:
          UnknownModel: this server does not offer the model.
          ValueError: see `checked_request`.
        """
        name = self.models.default if model is None else model
        config = self.models.config(name)
        return checked_request(name, config, image, instruction, mask=mask, **options)

    def submit(
        self, request: EditRequest, seeds: Sequence[int] = (0,), progress: Progress | None = None
    ) -> list[Job]:
        """Put an edit for each seed into the queue.

        Args:
          progress: called, from another thread, with (steps done, steps in total) of each batch.

        Raises:
          QueueFull: there is no place for all of them.
        """
        jobs = [Job(request, seed, progress) for seed in seeds]
        self.queue.put(jobs)
        return jobs

    def _run(self) -> None:
        """Warm up, then edit until the service is closed."""
        try:
            self._edit_example(self.models.default)
        except Exception as error:
            self.warm_up.set_exception(error)
            self.queue.close()
            return
        self.warm_up.set_result(None)
        while jobs := self.queue.take():
            try:
                self._edit(jobs)
            except Exception as error:  # of these edits: the next may succeed
                log.exception("an edit failed")
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(EditFailed(str(error)))

    def _edit_example(self, name: str) -> None:
        """Load a model, compile what its default method needs, and hash its weights."""
        editor = self.models.editor(name)
        # What the bundled models know: for other pictures and words they would log notices.
        editor.edit(ROOT / "scene.png", "make the ball blue")
        log.info("%s: ready, weights %s", name, editor.fingerprint[:12])

    def _edit(self, jobs: Sequence[Job]) -> None:
        """Edit the pictures of a batch; set the result of each job."""
        start, request = time.monotonic(), jobs[0].request
        editor = self.models.editor(request.model)
        jobs = [job for job in jobs if _is_possible(editor, job)]
        if not jobs:
            return
        results = self.models.with_memory(lambda: _edit_batch(editor, jobs), keep=request.model)
        digest = {"model": request.model, "weights_sha256": editor.fingerprint}
        for job, result in zip(jobs, results, strict=True):
            if job.request.explains:
                result.diagnostics.update(attention_of(editor, job.request, result))
            job.future.set_result(dataclasses.replace(result, settings=result.settings | digest))
        self.queue.batch_seconds = time.monotonic() - start
        self.metrics.count_batch(request.model, jobs, start)
        self._log(jobs, self.queue.batch_seconds)

    def _log(self, jobs: Sequence[Job], seconds: float) -> None:
        """Write a line for a batch; instructions are private unless the settings say otherwise."""
        words = [job.request.instruction for job in jobs] if self.config.log_prompts else ""
        log.info("%s: edits: %d in %.2f s %s", jobs[0].request.model, len(jobs), seconds, words)


def _is_possible(editor: Editor, job: Job) -> bool:
    """Tell whether a model can do a job; if not, set the job's error."""
    request = job.request
    try:
        editor.check_text(request.instruction, request.options.get("task"), strict=True)
        return True
    except ValueError as error:
        job.future.set_exception(invalid(str(error), "prompt"))
        return False


def attention_of(editor: Editor, request: EditRequest, result: EditResult) -> dict[str, Any]:
    """Return {"attention": scores, see `analyse.attention`} of an edit; {} of other models."""
    if not isinstance(sizes_of(editor.config), VAREditConfig):
        return {}
    scores = measure_edit(editor, request.source.picture, request.instruction, result.image)
    return {"attention": scores}


def _edit_batch(editor: Editor, jobs: Sequence[Job]) -> list[EditResult]:
    def progress(done: int, total: int) -> None:
        for job in jobs:
            if job.progress:
                job.progress(done, total)

    requests = [job.request for job in jobs]
    return editor.edit_batch(
        [request.source for request in requests],
        [request.instruction for request in requests],
        seeds=[job.seed for job in jobs],
        progress=progress,
        **requests[0].options,
    )
