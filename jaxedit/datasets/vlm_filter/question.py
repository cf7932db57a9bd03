"""The question to a vision-language model about a pair, and the parsing of its answer."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from jaxedit.data.record import Record

YES, NO, UNCLEAR = "yes", "no", "unclear"
_QUESTION = """\
The first picture was edited into the second one by this instruction: {instruction}

Answer yes if both of these hold, else no:
1. The difference between the pictures is what the instruction asks for, and nothing else changed.
2. Both pictures are clear and undistorted.

Answer with one word, yes or no."""
_THOUGHTS = re.compile(r".*(</think>|◁/think▷)", re.DOTALL)  # reasoning before an answer


def body_of(record: Record, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request to /v1/chat/completions.

    Args:
      record: an edit.
      model: name of the model on the server.
      options: further fields, for example temperature.

    Source: the filter of VAREdit's training data, whose exact words are not published.
    """
    content = [
        {"type": "text", "text": _QUESTION.replace("{instruction}", record.instruction)},
        *(
            {"type": "image_url", "image_url": {"url": _data_url(picture)}}
            for picture in (record.source, record.target)
        ),
    ]
    return {"model": model, "messages": [{"role": "user", "content": content}], **options}


def read_answer(text: str) -> str:
    """Return yes, no or unclear.

    The answer counts if it begins with yes or no, or contains only one of the two words.
    """
    words = re.findall(r"[a-z]+", _THOUGHTS.sub("", text).lower())
    found = {word for word in words if word in (YES, NO)}
    if words[:1] and words[0] in found:
        return words[0]
    return found.pop() if len(found) == 1 else UNCLEAR


def _data_url(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
