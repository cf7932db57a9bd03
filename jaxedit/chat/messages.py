"""The content of requests to chat models, and of their responses."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

_THOUGHTS = (("<think>", "</think>"), ("◁think▷", "◁/think▷"))


def request_body(
    model: str, prompt: str, pictures: Sequence[bytes], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the body of a request to /v1/chat/completions: a text, then PNG or JPEG pictures.

    Args:
      options: further fields, for example temperature.
    """
    content = [
        {"type": "text", "text": prompt},
        *({"type": "image_url", "image_url": {"url": _data_url(p)}} for p in pictures),
    ]
    return {"model": model, "messages": [{"role": "user", "content": content}], **options}


def content_of(response: Any) -> str:
    """Return the text in a response; a model that refuses may give its reason instead, or nothing.

    Raises:
      ValueError: the response has no message.
    """
    try:
        message = response["choices"][0]["message"]
        content = message["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("expected choices[0].message.content in the response") from error
    if content is None:
        content = message.get("refusal") or ""
    if not isinstance(content, str):
        raise ValueError("expected a text in choices[0].message.content")
    return content


def without_reasoning(reply: str) -> str:
    """Return what follows a model's reasoning; nothing if the reply ends inside the reasoning."""
    for begin, end in _THOUGHTS:
        reply = reply.rpartition(end)[2].partition(begin)[0]
    return reply


def _data_url(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
