"""The process of the server: it listens, and drains after SIGTERM."""

import importlib.util
import logging
import math
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import uvicorn

from jaxedit.config import ServeConfig
from jaxedit.console import DONE
from jaxedit.editor import word_check
from jaxedit.serve.app import create_app
from jaxedit.serve.service import EditService

log = logging.getLogger(__name__)


def serve(config: ServeConfig, names: Sequence[str], placement: Mapping[str, Any]) -> int:
    """Serve models until SIGTERM or Ctrl-C, after which the edits that were asked for are made.

    Args:
      config: checked.
      names, placement: see `EditService`.

    Returns:
      The exit code.

    Raises:
      ValueError, OSError, RuntimeError: a model cannot be loaded.
    """
    configure_log(has_prompts=config.log_prompts)
    service = EditService(config, names, placement=placement)
    app = create_app(service, has_page=config.page and _has_gradio())
    server = _Server(
        uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            log_config=None,
            access_log=False,  # `app` writes a line for each request
            server_header=False,
            timeout_graceful_shutdown=math.ceil(config.timeout),
        )
    )
    service.warm_up.add_done_callback(lambda done: _stop_after_failure(server, done.exception()))
    # uvicorn drains, and then raises the signal again for the handler that was there before
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server.run()
    if service.warm_up.done():
        service.warm_up.result()
    return DONE


def configure_log(*, has_prompts: bool) -> None:
    """Write the log to stderr; notices that repeat words of prompts only if it may have them."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    for name in ("jaxedit", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
    notices = logging.getLogger(word_check.__name__)
    notices.setLevel(logging.NOTSET if has_prompts else logging.ERROR)


class _Server(uvicorn.Server):
    """A server that does not wait for the connections of open pages."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        if page := self.config.app.state.page:
            page.stop()
        await super().shutdown(sockets)


def _has_gradio() -> bool:
    """Tell whether the page can be served; if not, say how."""
    if importlib.util.find_spec("gradio"):
        return True
    log.warning("the page at / needs gradio: pip install 'jaxedit[serve]'")
    return False


def _stop_after_failure(server: uvicorn.Server, error: BaseException | None) -> None:
    if error:
        server.should_exit = True
