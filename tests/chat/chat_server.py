"""A server like OpenAI's, whose answers are a script and then yes."""

import http.server
import json
import threading

import pytest


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends the next answer of the server's script, or its `default`."""

    def do_POST(self) -> None:
        """Answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((body, self.headers.get("Authorization")))
            script = self.server.script
            code, text, *headers = script.pop(0) if script else (200, self.server.default)
        if callable(text):
            text = text(body)
        if code == 200 and text != "not JSON":
            text = json.dumps({"choices": [{"message": {"content": text}}]})
        self.send_response(code)
        for header in headers:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class Server(http.server.ThreadingHTTPServer):
    """Does not mind clients that do not wait."""

    def handle_error(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server():
    """The server: `url`, the `requests` it got, and a `script` of (status, text, *headers)."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.script, server.requests, server.lock = [], [], threading.Lock()
        server.default = "yes"
        server.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
