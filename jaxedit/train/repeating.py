"""A thread that repeats an action while a block runs."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeating(action: Callable[[], bool], seconds: float) -> Iterator[None]:
    """Call `action` every `seconds` in a thread, until it returns False or the block ends."""
    is_closing = threading.Event()

    def repeat() -> None:
        while not is_closing.wait(seconds) and action():
            pass

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_closing.set()
        thread.join()
