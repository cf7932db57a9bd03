import os
import pathlib
import sys

import numpy as np
import pytest

from jaxedit.host_memory import return_free_memory


def resident():
    """Bytes of this process in memory."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' memory is left alone")
def test_memory_between_objects_returns():
    arrays = [np.ones(8000) for _ in range(1600)]  # 64 kB each, 102 MB together
    kept, before = arrays[::100], resident()
    del arrays
    return_free_memory()
    assert before - resident() > 80e6
    assert sum(array.sum() for array in kept) == 16 * 8000
