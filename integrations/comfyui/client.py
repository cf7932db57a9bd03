"""The client of a jaxedit server: forms out, pictures in, and errors in one line."""

import dataclasses
import http.client
import json
import pathlib
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Server:
    """A server at an address such as http://127.0.0.1:8000.

    Attributes:
      api_key_file: file whose first line is the key; empty: none. The key itself would be stored
        in workflows, which people share.
      timeout: seconds.
    """

    address: str
    api_key_file: str = ""
    timeout: float = 300

    def post_edit(self, fields: Mapping[str, str], files: Mapping[str, bytes]) -> dict[str, Any]:
        """Post an edit; return the server's answer.

        Raises:
          RuntimeError: the server was not reached, or refused; one line.
        """
        if not self.address.startswith(("http://", "https://")):
            raise RuntimeError(f"jaxedit: server={self.address!r}: expected http://HOST:PORT")
        body, kind = form(fields, files)
        request = urllib.request.Request(
            f"{self.address.rstrip('/')}/v1/images/edits",
            data=body,
            headers={"Content-Type": kind, **self._key()},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                return _checked(json.load(answer))
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"jaxedit: {_message(error)}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise RuntimeError(
                f"jaxedit: no edit from {self.address} ({reason}); is it running? "
                "python -m jaxedit.serve"
            ) from error

    def _key(self) -> dict[str, str]:
        if not self.api_key_file:
            return {}
        try:
            lines = pathlib.Path(self.api_key_file).expanduser().read_text("utf-8").split()
        except (OSError, ValueError) as error:
            raise RuntimeError(f"jaxedit: api_key_file={self.api_key_file!r}: {error}") from error
        return {"Authorization": f"Bearer {lines[0]}"} if lines else {}


def form(fields: Mapping[str, str], files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Return the body of a form with texts and PNG files, and its Content-Type."""
    mark = uuid.uuid4().hex
    parts = []
    for name, text in fields.items():
        parts.append(f'name="{name}"\r\n\r\n{text}'.encode())
    for name, data in files.items():
        head = f'name="{name}"; filename="{name}.png"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + data)
    start = f"--{mark}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(start + part + b"\r\n" for part in parts) + f"--{mark}--\r\n".encode()
    return body, f"multipart/form-data; boundary={mark}"


def _checked(answer: Any) -> dict[str, Any]:
    """Return an answer that holds a picture; raise ValueError if it is another one."""
    try:
        answer["data"][0]["b64_json"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("it answered without a picture: no server of jaxedit?") from error
    return answer


def _message(error: urllib.error.HTTPError) -> str:
    """Return the sentence in a server's error, with its status and address."""
    try:
        sentence = json.load(error)["error"]["message"]
    except (OSError, ValueError, KeyError, TypeError):
        sentence = error.reason
    return f"{sentence} ({error.code} from {error.url})"
