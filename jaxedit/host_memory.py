"""The host's memory that this process has freed."""

import contextlib
import ctypes
import gc
import sys


def return_free_memory() -> None:
    """Collect garbage, and return free memory to the operating system.

    Freed objects lie between others, and glibc keeps their pages for later ones: of 690 MB that
    compiled programs took, 640 MB stayed with the process. Other C libraries are left alone.
    """
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # of musl, which has no such function
            ctypes.CDLL(None).malloc_trim(0)
