"""Pictures, servers and editors for tests of the server."""

import contextlib
import io
import threading
import time
from functools import partial

import numpy as np
import uvicorn
from PIL import Image, ImageOps

from jaxedit.checkpoints.pretrained import read_config
from jaxedit.editor.editor import EditResult

WORDS = "make the ball blue"


def picture(width=24, height=16, seed=0):
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def file_of(image, kind="PNG"):
    """The bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


def form(**fields):
    """Arguments of a post that edits a picture."""
    return {"files": {"image": ("a.png", file_of(picture()))}, "data": {"prompt": WORDS} | fields}


def error_of(answer, status):
    """The error in an answer, which is one sentence in OpenAI's form."""
    assert answer.status_code == status, answer.text
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"} and error["code"]
    assert len(error["message"].splitlines()) == 1 and "Traceback" not in error["message"]
    return error


def wait_for(is_true, seconds=20):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


@contextlib.contextmanager
def listening(app):
    """Serve an app on a free port by a thread; yields the address and the server."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        thread.join()


class FakeEditor:
    """An editor that inverts pictures, when it may.

    Attributes:
      may_edit: cleared, edits wait for it.
      batches: seeds of the batches so far.
      failure: raised by the next edits.
    """

    fingerprint = "f" * 64

    def __init__(self, directory):
        self.config = read_config(directory)
        self.may_edit, self.batches, self.failure = threading.Event(), [], None
        self.may_edit.set()

    def edit(self, image, instruction):
        """Warm up."""

    def check_text(self, text, task, *, strict):
        """Take every text."""

    def edit_batch(self, sources, instructions, *, seeds, progress, **options):
        """Invert pictures."""
        self.batches.append(list(seeds))
        self.may_edit.wait(20)
        progress(1, 1)
        if self.failure:
            raise self.failure
        return [
            EditResult(None, {}, (), {"seed": seed}, image, str, partial(ImageOps.invert, image))
            for image, seed in zip([s.picture for s in sources], seeds, strict=True)
        ]
