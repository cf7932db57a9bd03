"""Attacks on readers of files, and the demands of the tests on a reader.

An audit hook sees every file that is opened and every program that is started meanwhile.
"""

import contextlib
import pathlib
import struct
import sys
import tracemalloc

import pytest
import torch_writer

from jaxedit.convert.state_dict import open_state

FORBIDDEN = ("exec", "compile", "import", "os.", "subprocess.", "socket.", "pickle.", "shutil.")
HARMLESS = ("os.listdir", "os.scandir")
seen: list[tuple[str, tuple]] | None = None  # what happens while a file is read


def _watch(event, arguments):
    if seen is not None and (event == "open" or event.startswith(FORBIDDEN)):
        seen.append((event, arguments))


sys.addaudithook(_watch)  # for good: Python has no way to remove one
"é".encode("cp437")  # zipfile would import it


@contextlib.contextmanager
def harmless(directory):
    """Nothing but files of `directory` is opened, and nothing is run."""
    global seen
    seen = []
    try:
        yield
    finally:
        events, seen = seen, None
    for event, arguments in events:
        if event == "open":
            assert pathlib.Path(arguments[0]).parent == directory, arguments
        else:
            assert event in HARMLESS, (event, arguments)


@contextlib.contextmanager
def frugal():
    """Little memory is taken."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def read_all(path):
    """Read as a conversion does, to the last number."""
    for array in open_state(path).arrays.values():
        array[...]


def refuse(path, message):
    with harmless(path.parent), frugal(), pytest.raises(ValueError, match=message) as caught:
        read_all(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))


def refuse_program(tmp_path, program, message, storage=bytes(16)):
    path = tmp_path / "file.pt"
    torch_writer.write_zip(path, {"a/data.pkl": program, "a/data/0": storage})
    refuse(path, message)


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def tensor(kind="Float", key="0", size=4, offset=0, shape=(4,), strides=(1,)):
    """Instructions that push a tensor; any argument may be given as instructions."""

    def push(value):
        if isinstance(value, bytes):
            return value
        if isinstance(value, tuple):
            return b"(" + b"".join(push(v) for v in value) + b"t"
        return (
            text(value)
            if isinstance(value, str)
            else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        )

    storage = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + push(key)
    storage += text("cpu") + push(size) + b"tQ"
    numbers = push(offset) + push(shape) + push(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers + b"\x89}tR"


def state(pushed):
    return b"\x80\x02}" + text("weight") + pushed + b"s."
