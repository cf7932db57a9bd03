"""Warnings that stand in the log once for a process, however often their cause occurs."""

import functools
import logging
import threading

_lock = threading.Lock()  # two threads may meet the same cause at once


def warn_once(log: logging.Logger, message: str, *values: object) -> None:
    """Log a warning unless it was logged before with the same values."""
    with _lock:
        _warn(log, message, *values)


def forget() -> None:
    """Log every warning again."""
    _warn.cache_clear()


@functools.lru_cache(1024)  # values may be a client's, without end
def _warn(log: logging.Logger, message: str, *values: object) -> None:
    log.warning(message, *values)
