"""Settings of the server."""

import dataclasses
from typing import Annotated

from jaxedit.config.checks import require
from jaxedit.config.fields import (
    Interval,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    check_fields,
)

MOST_EDITS = 10  # of a request, as in OpenAI's images API


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Settings of `python -m jaxedit.serve`, each an option of the command."""

    # address to listen on; 0.0.0.0: every network of this machine
    host: str = "127.0.0.1"
    port: Annotated[int, Interval("[0, 65535]")] = 8000  # 0: any that is free
    # edits made at once; a batch with free places takes as long as a full one
    max_batch: PositiveInt = 1
    batch_wait_ms: NonNegative = 5.0  # how long an edit waits for others to share its batch
    # edits that wait, at least 10, the edits of a single request; more are answered with 429
    max_queue: Annotated[int, Interval(f"[{MOST_EDITS}, inf)")] = 64
    timeout: Positive = 300.0  # seconds from a request's first byte to its answer; then 504
    # models in memory, of those that --model names; 0: all that fit
    max_loaded: NonNegativeInt = 0
    max_upload_mb: Positive = 50.0  # of a request, in MB
    max_pixels: PositiveInt = 50_000_000  # of a picture, counted before it is decoded
    rate_limit: NonNegative = 0.0  # requests a minute of each key or address; 0: no limit
    api_key_file: str = ""  # file of accepted keys, one a line; empty: everybody is served
    page: bool = True  # serve the page, at /, where gradio is installed
    log_prompts: bool = False  # write instructions to the log

    def validate(self) -> None:
        """Raise ConfigError for a value outside its range."""
        check_fields(self)
        require(bool(self.host), "host='': expected an address to listen on, such as 127.0.0.1")
