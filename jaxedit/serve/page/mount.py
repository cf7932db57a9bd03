"""The page as a part of the server's application."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator

import gradio as gr
from fastapi import FastAPI

from jaxedit.serve.limits import RateLimit
from jaxedit.serve.page.gate import Gate
from jaxedit.serve.page.layout import HERE, Page
from jaxedit.serve.service import EditService

_FONTS = ["system-ui", "sans-serif"]  # of the reader's machine: no address is asked for fonts
_SESSIONS = 256  # whose history is kept


class MountedPage:
    """Gradio's application with the page, behind its gate."""

    def __init__(self, service: EditService, rate: RateLimit | None = None) -> None:
        """Make the page; see `Page`."""
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="jaxedit-page-"))
        os.environ["GRADIO_TEMP_DIR"] = str(self._folder)  # Gradio has no argument for it
        blocks = Page(service, self._folder, rate).blocks
        blocks.state_session_capacity = _SESSIONS
        theme = gr.themes.Default(font=_FONTS, font_mono=["ui-monospace", "monospace"])
        self._outer = FastAPI(openapi_url=None)
        gr.mount_gradio_app(
            self._outer,
            blocks,
            path="/",
            allowed_paths=[],
            blocked_paths=[],
            show_error=False,
            max_file_size=int(service.config.max_upload_mb * 1e6),
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=theme,
            css_paths=HERE / "page.css",
        )
        self.app = Gate(self._outer)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while the server does; the files that were sent and made are deleted at its end."""
        try:
            async with self._outer.router.lifespan_context(self._outer):
                yield
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """End the connections of open pages, for which the server would wait."""
        self._outer.routes[-1].app.stop_event.set()
