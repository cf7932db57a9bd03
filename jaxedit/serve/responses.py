"""The answers of the API, as OpenAPI describes them."""

from typing import Any

_MEANING = {
    400: "a field, the picture or the mask is wrong",
    401: "no API key, or a wrong one",
    404: "no such model",
    413: "the request is too large",
    415: "no form, or a file that is no picture",
    429: "the queue is full, or a client asks too often",
    500: "the server failed",
    504: "the edit was not done in time",
}
_HEADERS = {
    401: ("WWW-Authenticate", {"type": "string"}, "how to give a key"),
    429: ("Retry-After", {"type": "integer", "minimum": 1}, "seconds until a client may ask again"),
}
_GUARDS = (401, 413, 429)  # codes of `limits.Guard`, which stands before every route


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has these properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_TEXT = {"type": "string"}
_ERROR = _object(
    error=_object(message=_TEXT, type=_TEXT, param={"type": ["string", "null"]}, code=_TEXT)
)
_EDITS = _object(
    created={"type": "integer", "description": "seconds since 1970"},
    background=_TEXT,
    output_format=_TEXT,
    size={"type": "string", "description": "WIDTHxHEIGHT"},
    data={
        "type": "array",
        "items": _object(b64_json=_TEXT, seed={"type": "integer"}),
        "description": "a picture for each seed",
    },
)
_MODEL = _object(
    id=_TEXT,
    object=_TEXT,
    created={"type": "integer"},
    owned_by=_TEXT,
    methods={"type": "array", "items": _TEXT},
    loaded={"type": "boolean"},
)


def _error(code: int) -> dict[str, Any]:
    described = _json(_MEANING[code], _ERROR)
    if code in _HEADERS:
        name, schema, description = _HEADERS[code]
        described["headers"] = {name: {"schema": schema, "description": description}}
    return described


_REFUSED = {code: _error(code) for code in _GUARDS}
# of each route, by status
EDITS = {200: _json("the edits", _EDITS)} | {code: _error(code) for code in _MEANING}
MODELS = {200: _json("the models", _object(object=_TEXT, data={"type": "array", "items": _MODEL}))}
MODELS |= _REFUSED
# "4XX" takes the place of the 422 that FastAPI writes down for every route with a parameter
MODEL = {200: _json("the model", _MODEL), 404: _error(404), "4XX": _json("refused", _ERROR)}
MODEL |= _REFUSED
_READY = _object(ready={"type": "boolean"})
READY = {200: _json("ready", _READY), 503: _json("no model is ready yet", _READY)}
