"""Requests at a time, by threads."""

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield the results of a function in the order of its items, which are read as needed.

    After an error, and when the iterator is closed, no further item is begun.
    """
    stop = threading.Event()

    def call(item: Item) -> Result:
        if stop.is_set():
            raise concurrent.futures.CancelledError
        try:
            return function(item)
        except BaseException:
            stop.set()  # before this thread takes another item
            raise

    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(call, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stop.set()
