"""The images API, as OpenAI's clients call it: POST /v1/images/edits and GET /v1/models."""

import asyncio
import base64
import io
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from jaxedit.config import family_of, require
from jaxedit.editor import provenance
from jaxedit.editor.editor import EditResult
from jaxedit.serve import responses
from jaxedit.serve.edit_request import EditRequest, decode
from jaxedit.serve.edited import edited, made_from, seeds_of
from jaxedit.serve.errors import CLIENT_LEFT, api_error
from jaxedit.serve.fields import request_body
from jaxedit.serve.form import EditForm, read_form
from jaxedit.serve.service import EditService

_QUALITY = 95  # of jpeg and webp

Value = TypeVar("Value")


def images_router(service: EditService) -> APIRouter:
    """Return the routes of the API."""
    router = APIRouter(prefix="/v1")

    @router.post(
        "/images/edits",
        openapi_extra={"requestBody": request_body()},
        responses=responses.EDITS,
        tags=["images"],
    )
    async def edit_image(request: Request) -> Response:
        """Edit a picture by an instruction: OpenAI's images API, and the settings of the model."""
        try:
            async with asyncio.timeout(service.config.timeout):
                service.queue.require_room()
                form = await read_form(request)
                async with service.decoders:
                    edit = await run_in_threadpool(_checked, service, form)
                seeds = seeds_of(form.values.get("seed", 0), form.values.get("n", 1))
                results = await _while_connected(request, edited(service, edit, seeds))
                answer = await run_in_threadpool(_answer, form, results)
                return JSONResponse(answer)
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)

    @router.get("/models", responses=responses.MODELS, tags=["models"])
    def list_models() -> dict[str, Any]:
        """List the models that this server offers."""
        return {
            "object": "list",
            "data": [_model(service, name) for name in service.models.configs],
        }

    @router.get("/models/{name:path}", responses=responses.MODEL, tags=["models"])
    def get_model(name: str) -> dict[str, Any]:
        """Describe a model."""
        service.models.config(name)
        return _model(service, name)

    return router


def _model(service: EditService, name: str) -> dict[str, Any]:
    config = service.models.config(name)
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "jaxedit",
        "methods": list(family_of(config).methods),
        "loaded": name in service.models.loaded,
    }


def _checked(service: EditService, form: EditForm) -> EditRequest:
    """Decode the pictures of a form, and check them with its settings.

    Raises:
      APIError: they cannot be read, or do not fit each other or the model.
    """
    values, most = form.values, service.config.max_pixels
    try:
        _refuse_unserved(values)
        image = decode(form.image.data, "image", most)
        return service.request(
            image,
            values["prompt"],
            model=values.get("model"),
            mask=form.mask and decode(form.mask.data, "mask", most),
            size=values.get("size"),
            **form.options,
        )
    except ValueError as error:
        raise api_error(error) from error


def _refuse_unserved(values: dict[str, Any]) -> None:
    """Raise ConfigError for what OpenAI's API offers and this server does not."""
    unserved = {
        "response_format": ("url", "b64_json: this server keeps no files"),
        "background": ("transparent", "auto or opaque: edits have no transparent pixels"),
        "stream": (True, "false: this server sends whole answers"),
    }
    for name, (value, expected) in unserved.items():
        require(values.get(name) != value, f"{name}={value}: expected {expected}")
    require(not values.get("partial_images"), "partial_images: expected 0: see stream")


async def _while_connected(request: Request, work: Coroutine[Any, Any, Value]) -> Value:
    """Return what `work` returns; cancel it if the client leaves.

    Raises:
      ClientDisconnect: the client left.
    """
    task = asyncio.create_task(work)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await task
    except asyncio.CancelledError:
        if not watcher.done():  # the server stops, or the time is over
            raise
        raise ClientDisconnect from None
    finally:
        watcher.cancel()


def _answer(form: EditForm, results: Sequence[EditResult]) -> dict[str, Any]:
    """Return the body of the answer: the edits, encoded, in the order of their seeds."""
    kind = form.values.get("output_format", "png")
    quality = form.values.get("output_compression", _QUALITY)
    files = made_from({"source": form.image, "mask": form.mask})
    width, height = results[0].image.size
    return {
        "created": int(time.time()),
        "background": "opaque",
        "output_format": kind,
        "size": f"{width}x{height}",
        "data": [
            {
                "b64_json": _encoded(result, kind, quality, result.settings | files),
                "seed": result.settings["seed"],
            }
            for result in results
        ],
    }


def _encoded(result: EditResult, kind: str, quality: int, settings: dict[str, Any]) -> str:
    """Return a picture as a file in base64; PNG carries the settings that make it again."""
    if kind == "png":
        return base64.b64encode(provenance.encode(result.image, settings)).decode()
    file = io.BytesIO()
    result.image.save(file, format=kind, quality=quality)
    return base64.b64encode(file.getvalue()).decode()
