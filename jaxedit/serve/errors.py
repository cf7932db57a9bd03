"""Errors of the API, in the form of OpenAI's: `{"error": {message, type, param, code}}`."""

import logging
import re
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from jaxedit.serve.jobs import EditFailed, QueueFull
from jaxedit.serve.models import UnknownModel

log = logging.getLogger(__name__)

CLIENT_LEFT = 499  # nobody reads the answer; the code is counted
_INVALID = "invalid_request_error"
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_type"}


class APIError(Exception):
    """An error that a client is told."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        type: str = _INVALID,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the error.

        Args:
          status: of HTTP.
          message: one sentence, which names a value and what was expected.
          code, type: for programs.
          param: the field of the request that is wrong.
          headers: of the answer.
        """
        super().__init__(message)
        self.status, self.code, self.type, self.param = status, code, type, param
        self.headers = headers

    def response(self) -> JSONResponse:
        """Return the answer."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return JSONResponse({"error": error}, self.status, self.headers)


def api_error(error: Exception) -> APIError:
    """Return the error that a client is told; what is no client's mistake is told in no detail."""
    match error:
        case APIError():
            return error
        case UnknownModel():
            return APIError(404, str(error), code="model_not_found", param="model")
        case QueueFull():
            headers = {"Retry-After": str(error.seconds)}
            kind = "rate_limit_error"
            return APIError(429, str(error), code="queue_full", type=kind, headers=headers)
        case ValueError():
            return invalid(str(error))
        case TimeoutError():
            message = "the edit was not done in time: ask again later"
            return APIError(504, message, code="timeout", type="server_error")
        case HTTPException():
            code = _CODES.get(error.status_code, "invalid_request")
            return APIError(error.status_code, str(error.detail), code=code, headers=error.headers)
    message = "the server failed; its log says why"
    return APIError(500, message, code="internal_error", type="server_error")


def invalid(message: str, param: str | None = None) -> APIError:
    """Return the error for a wrong value; by default `param` is the name that the message names."""
    named = re.match(r"(?:\w+\.)?(\w+)[=:]", message)
    param = param or (named[1] if named else None)
    return APIError(400, message, code="invalid_value", param=param)


def add_handlers(app: FastAPI) -> None:
    """Answer every error of an app in the API's form."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        told = api_error(error)
        app.state.service.metrics.count_error(told.code)
        return told.response()

    kinds = (APIError, HTTPException, QueueFull, UnknownModel, TimeoutError, EditFailed, Exception)
    for kind in kinds:
        app.add_exception_handler(kind, answer)
