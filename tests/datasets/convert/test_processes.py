import multiprocessing
import os
import signal
import threading
import time

import pytest
from fabricate_pairs import folder as pairs_folder
from fabricate_pairs import records

from jaxedit.datasets.convert.folder import Folder
from jaxedit.datasets.convert.processes import write_shards
from jaxedit.datasets.convert.shard import Job
from jaxedit.datasets.readers.pairs import Pairs


@pytest.fixture
def jobs(tmp_path):
    published = Pairs(pairs_folder(tmp_path / "pairs", 4))
    (rows,) = published.parts()
    folder = Folder(tmp_path / "out", "pairs", 2)
    folder.work.mkdir(parents=True)
    return [Job(published, [rows[i::2]], folder, i, 32) for i in range(2)]


def written(jobs):
    return [list(records(job.folder.shard(job.index))) for job in jobs]


def test_processes_write_what_one_does(jobs):
    seen = []
    write_shards(jobs, 2, lambda: seen.append(True))
    assert len(seen) == 2
    found, reports = written(jobs), [job.folder.report_of(job.index) for job in jobs]
    write_shards(jobs, 1, lambda: None)
    assert written(jobs) == found
    assert [job.folder.report_of(job.index) for job in jobs] == reports


def test_what_goes_wrong_is_told(jobs):
    wrong = jobs[0]._replace(store_px="many")
    with pytest.raises(OSError, match="^shard 0: .*TypeError"):
        write_shards([wrong], 2, lambda: None)
    assert not multiprocessing.active_children()


def test_a_killed_process_is_noticed(jobs, tmp_path):
    source = tmp_path / "pairs/source/p001.jpg"
    source.unlink()
    os.mkfifo(source)  # shard 1 waits here until it is killed
    killer = threading.Thread(target=kill_child)
    killer.start()
    try:
        with pytest.raises(OSError, match="^shard 1: its process was killed; out of memory"):
            write_shards(jobs[1:], 2, lambda: None)
    finally:
        killer.join()
    assert not jobs[1].folder.shard(1).exists()


def kill_child():
    """Kill the process that writes a shard, as soon as there is one."""
    while not (running := multiprocessing.active_children()):
        time.sleep(0.01)
    os.kill(running[-1].pid, signal.SIGKILL)
