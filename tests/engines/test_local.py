import multiprocessing
import os
import signal
import threading
import time

import pytest
from fabricate_pairs import folder as pairs_folder
from fabricate_pairs import records

from jaxedit.datasets.convert.folder import Folder
from jaxedit.datasets.convert.shard import Job, write_shard
from jaxedit.datasets.readers.pairs import Pairs
from jaxedit.engines.engine import run_jobs


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
    run_jobs(write_shard, jobs, lambda: seen.append(True), workers=2)
    assert len(seen) == 2
    found, reports = written(jobs), [job.folder.report_of(job.index) for job in jobs]
    run_jobs(write_shard, jobs, lambda: None, workers=1)
    assert written(jobs) == found
    assert [job.folder.report_of(job.index) for job in jobs] == reports


def test_what_goes_wrong_is_told(jobs):
    wrong = jobs[0]._replace(store_px="many")
    with pytest.raises(OSError, match="^shard 0: .*TypeError"):
        run_jobs(write_shard, [wrong], lambda: None, workers=2)
    assert not multiprocessing.active_children()


def test_a_killed_process_is_noticed(jobs, tmp_path):
    source = tmp_path / "pairs/source/p001.jpg"
    source.unlink()
    os.mkfifo(source)  # shard 1 waits here until it is killed
    killer = threading.Thread(target=kill_child)
    killer.start()
    try:
        with pytest.raises(OSError, match="^shard 1: its process was killed; out of memory"):
            run_jobs(write_shard, jobs[1:], lambda: None, workers=2)
    finally:
        killer.join()
    assert not jobs[1].folder.shard(1).exists()


def kill_child():
    """Kill the process that writes a shard, as soon as there is one."""
    while not (running := multiprocessing.active_children()):
        time.sleep(0.01)
    os.kill(running[-1].pid, signal.SIGKILL)
