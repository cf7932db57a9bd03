import threading
import time

import pytest

from jaxedit.chat.threads import map_threads


def test_results_come_in_order():
    def late(i):
        time.sleep(0.01 * (3 - i % 4))
        return i * i

    assert list(map_threads(late, range(20), 4)) == [i * i for i in range(20)]


def test_items_are_read_as_needed():
    read = []
    results = map_threads(str, (read.append(i) or i for i in range(1000)), 2)
    assert next(results) == "0" and len(read) <= 6
    results.close()
    assert len(read) <= 6


def test_two_at_a_time():
    both = threading.Barrier(2, timeout=10)
    assert len(list(map_threads(lambda _: both.wait(), range(6), 2))) == 6


def test_an_error_ends_all():
    begun = []

    def fail(i):
        begun.append(i)
        if i == 3:
            raise OSError("full")
        return i

    results = map_threads(fail, range(100), 1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="full"):
        next(results)
    assert begun == [0, 1, 2, 3]
