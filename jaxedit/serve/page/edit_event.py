"""An edit that the page asks for: from the values of its controls to files of the edits."""

import asyncio
import dataclasses
import html
import logging
import pathlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import gradio as gr
import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool

from jaxedit.analyse.attention import draw_scores
from jaxedit.config import PretrainedConfig
from jaxedit.data.pictures import png_writer
from jaxedit.data.transforms import fit_of, to_square
from jaxedit.editor import provenance
from jaxedit.editor.editor import EditResult
from jaxedit.erec.panel import panel_of
from jaxedit.evaluate.tables.figures import save
from jaxedit.serve.edit_request import EditRequest, decode
from jaxedit.serve.edited import Upload, edited, made_from, seeds_of
from jaxedit.serve.errors import api_error
from jaxedit.serve.fields import FIELDS
from jaxedit.serve.page.controls import read_options
from jaxedit.serve.page.sent import mask_of, photo_of
from jaxedit.serve.service import EditService

log = logging.getLogger(__name__)

VARIANTS = 4
_TICK = 0.1  # seconds between reports of progress
_MASK_SIDE = 256  # pixels, smallest side of ERec's mask as it is shown


class Made(NamedTuple):
    """An edit as the page keeps it: paths of files, and texts.

    Attributes:
      before, after: PNG files; `after` carries the settings of the edit.
      caption: of the edit in galleries.
      link: the query of an address that fills the page as it was.
      given_mask: the mask that was drawn or given, a file that makes the edit again needs.
      panel, mask: PNG files of ERec, if asked for.
      attention: PNG file of the attention between scales, if asked for.
      notice: see `EditResult.diagnostics`.
    """

    before: str
    after: str
    caption: str
    link: str
    given_mask: str | None = None
    panel: str | None = None
    mask: str | None = None
    attention: str | None = None
    notice: str = ""


class Asked(NamedTuple):
    """The values of the page's controls, and the edit that they ask for of a model."""

    config: PretrainedConfig
    request: EditRequest
    seeds: range
    files: dict[str, Upload | None]
    link: dict[str, str]


async def make(
    service: EditService, folder: pathlib.Path, values: dict[str, Any], progress: gr.Progress
) -> list[Made]:
    """Edit as the page asks.

    Args:
      folder: of uploaded files, and of the files that are made.
      values: by name: canvas, prompt, model, seed, count, explains, and texts of options.
      progress: told what is done.

    Raises:
      Exception: as `EditService` and the checks of the API raise.
    """
    async with asyncio.timeout(service.config.timeout):
        service.queue.require_room()
        async with service.decoders:
            asked = await run_in_threadpool(_asked, service, folder, values)
        results = await _with_progress(service, asked, progress)
        return await run_in_threadpool(_files_of, folder, asked, results)


def error_of(service: EditService, error: Exception) -> gr.Error:
    """Return what the page shows of an error: the sentence of the API."""
    told = api_error(error)
    if told.status >= 500:
        log.error("the page: %s", told, exc_info=error)
    service.metrics.count_error(told.code)
    # Gradio shows messages as HTML.
    return gr.Error(html.escape(str(told)), print_exception=False)


def _asked(service: EditService, folder: pathlib.Path, values: dict[str, Any]) -> Asked:
    """Read and check what the page asks for.

    Raises:
      ValueError, APIError: a value is wrong; one line.
    """
    values, most = dict(values), service.config.max_pixels
    canvas, prompt = values.pop("canvas"), str(values.pop("prompt") or "")
    model, count = values.pop("model") or service.models.default, values.pop("count")
    explains, seed = bool(values.pop("explains")), _whole(values.pop("seed"))
    first = FIELDS["seed"].read("seed", seed)
    options = read_options(values)
    photo = photo_of(canvas, folder)
    image = decode(photo.data, "image", most)
    mask, mask_file = mask_of(canvas, image.size, folder, most)
    request = service.request(image, prompt, model=model, mask=mask, **options)
    link = {"picture": "example"} if canvas["photo"].get("example") else {}
    link |= {"prompt": prompt, "model": model, "seed": seed}
    link |= {name: str(values[name]) for name in options}
    files = {"source": photo, "mask": mask_file}
    request = dataclasses.replace(request, explains=explains)
    return Asked(service.models.config(model), request, seeds_of(first, count), files, link)


def _whole(number: Any) -> str:
    """Return the text of a number; none is 0."""
    is_whole = isinstance(number, float) and number.is_integer()
    return "0" if number in (None, "") else str(int(number) if is_whole else number)


async def _with_progress(
    service: EditService, asked: Asked, progress: gr.Progress
) -> list[EditResult]:
    """Return the results of an edit, and tell what is done meanwhile."""
    done = {"steps": 0, "total": 1}
    waiting = len(service.queue)

    def count(steps: int, total: int) -> None:
        done.update(steps=steps, total=total)

    task = asyncio.create_task(edited(service, asked.request, asked.seeds, count))
    try:
        while not task.done():
            text = f"waiting, {waiting} before this edit" if waiting else "editing"
            if not service.is_ready:
                text = "loading the model"
            progress(done["steps"] / done["total"], desc="editing" if done["steps"] else text)
            await asyncio.wait([task], timeout=_TICK)
        return task.result()
    finally:
        task.cancel()


def _files_of(folder: pathlib.Path, asked: Asked, results: Sequence[EditResult]) -> list[Made]:
    """Write the files of the results."""
    place = folder / secrets.token_hex(16)
    place.mkdir()
    before = _before(asked, results[0])
    (place / "before.png").write_bytes(png_writer.encode(before))
    if asked.files["mask"]:
        (place / "mask.png").write_bytes(asked.files["mask"].data)
    record = made_from(asked.files)
    return [_made(place, asked, result, record) for result in results]


def _before(asked: Asked, result: EditResult) -> Image.Image:
    """Return the source in the shape of the edit."""
    if result.source.size == result.image.size:
        return result.source
    options = asked.request.options
    shape = fit_of(asked.config, options.get("fit"), keep_size=options.get("keep_size", False))
    return Image.fromarray(np.asarray(to_square(result.source, result.image.width, shape)))


def _made(place: pathlib.Path, asked: Asked, result: EditResult, record: dict[str, str]) -> Made:
    """Write the files of a result, the edit with its settings."""
    seed = result.settings["seed"]

    def written(name: str, image: Image.Image) -> str:
        path = place / f"{name}-{seed}.png"
        path.write_bytes(provenance.encode(image, result.settings | record))
        return str(path)

    words = asked.request.instruction
    return Made(
        before=str(place / "before.png"),
        after=written("edited", result.image),
        caption=f"{words} (seed {seed})",
        link=urlencode(asked.link | {"seed": str(seed)}),
        notice=result.diagnostics.get("notice", ""),
        given_mask=str(place / "mask.png") if asked.files["mask"] else None,
        **(_explained(place, asked, result, written) if asked.request.explains else {}),
    )


def _explained(
    place: pathlib.Path,
    asked: Asked,
    result: EditResult,
    written: Callable[[str, Image.Image], str],
) -> dict[str, str]:
    """Write ERec's panel and mask and the attention, as far as a result has them; return paths."""
    found = {}
    if "reconstruction" in result.diagnostics:
        found["panel"] = written("panel", panel_of(result.source, result))
    if result.mask is not None:
        mask = Image.fromarray(np.where(result.mask, 255, 0).astype(np.uint8))
        factor = -(-_MASK_SIDE // mask.width)
        size = mask.width * factor, mask.height * factor
        found["mask"] = written("mask", mask.resize(size, Image.Resampling.NEAREST))
    if "attention" in result.diagnostics:
        path = place / f"attention-{result.settings['seed']}.png"
        scores = result.diagnostics["attention"]
        save(draw_scores(scores, asked.config.varedit, asked.request.instruction), path)
        found["attention"] = str(path)
    return found
