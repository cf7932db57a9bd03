"""The server's application: the images API, the page, health and metrics."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxedit import __version__
from jaxedit.serve import fields, responses
from jaxedit.serve.errors import add_handlers
from jaxedit.serve.images_api import images_router
from jaxedit.serve.limits import Guard, RateLimit, read_keys
from jaxedit.serve.service import EditService

if TYPE_CHECKING:
    from jaxedit.serve.page.mount import MountedPage

log = logging.getLogger(__name__)


def create_app(service: EditService, *, has_page: bool = False) -> FastAPI:
    """Return the application of a service, which runs while the application does.

    API keys are asked for under `/v1/`, and for the page; not for health and metrics.

    Args:
      has_page: serve the page at `/`, by the same service; `app.state.page` is its `MountedPage`.

    Raises:
      ConfigError, OSError: the file of API keys cannot be used.
    """
    config = service.config
    keys = read_keys(config.api_key_file) if config.api_key_file else ()
    rate = RateLimit(config.rate_limit) if config.rate_limit else None
    page = _page_of(service, rate) if has_page else None

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        async with page.running() if page else contextlib.nullcontext():
            yield
        service.close()

    app = FastAPI(
        title="jaxedit",
        version=__version__,
        description="Edit pictures by instructions, as by OpenAI's images API.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from other hosts
        redoc_url=None,
    )
    app.state.service, app.state.page = service, page
    app.include_router(images_router(service))
    _add_docs(app)
    _add_health(app, service)
    if page:
        app.router.default = page.app  # a mount would take the API's wrong methods from their 405
    add_handlers(app)
    app.add_middleware(Guard, keys=keys, rate=rate, max_bytes=config.max_upload_mb * 1e6)
    app.add_middleware(_Measured, service=service)
    return app


def _page_of(service: EditService, rate: RateLimit | None) -> "MountedPage":
    from jaxedit.serve.page.mount import MountedPage

    return MountedPage(service, rate)


def _add_docs(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False, response_class=PlainTextResponse)
    def docs() -> str:
        """Describe the fields of an edit."""
        return fields.reference()


def _add_health(app: FastAPI, service: EditService) -> None:
    """Add the routes that load balancers and Prometheus ask."""

    @app.get("/health", tags=["health"], response_class=PlainTextResponse)
    def health() -> str:
        """Tell that the process answers."""
        return "ok\n"

    @app.get("/ready", responses=responses.READY, tags=["health"])
    def ready() -> Response:
        """Tell whether edits are made at once: 503 until the first model is loaded and compiled."""
        is_ready = service.is_ready
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    def metrics() -> Response:
        """Return the numbers that Prometheus reads."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


class _Measured:
    """An ASGI application whose requests are counted and timed, by route."""

    def __init__(self, app: ASGIApp, *, service: EditService) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")  # holds no text of the client
            self._service.metrics.count_request(route, status, seconds)
            if route.startswith("/v1/"):
                log.info("%s %s: %d in %.3f s", scope["method"], route, status, seconds)
