"""The queue: order, batches of one key, bounds, cancelled jobs."""

import threading
from types import SimpleNamespace

import pytest

from jaxedit.serve.jobs import Job, JobQueue, QueueFull


def job(key="a", seed=0):
    return Job(SimpleNamespace(key=lambda seed: key), seed)


def seeds(jobs):
    return [job.seed for job in jobs]


def test_a_batch_shares_a_key_and_starts_with_the_oldest():
    queue = JobQueue(10, max_batch=2, wait=0.0)
    queue.put([job("a", 0), job("b", 1), job("a", 2), job("a", 3)])
    assert [seeds(queue.take()) for _ in range(3)] == [[0, 2], [1], [3]]
    assert len(queue) == 0


def test_a_job_waits_a_moment_for_others():
    queue, taken = JobQueue(10, max_batch=2, wait=20.0), []
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    for seed in range(2):
        queue.put([job(seed=seed)])
    thread.join(10)
    assert seeds(taken[0]) == [0, 1]
    lonely = JobQueue(10, max_batch=2, wait=0.01)
    lonely.put([job()])
    assert seeds(lonely.take()) == [0]


def test_a_full_queue_takes_all_of_a_request_or_none():
    queue = JobQueue(3, max_batch=2, wait=0.0)
    queue.batch_seconds = 4.5
    first = [job(seed=seed) for seed in range(2)]
    queue.put(first)
    with pytest.raises(QueueFull, match="ask again in 5 s"):
        queue.put([job(), job()])
    assert len(queue) == 2
    first[0].future.cancel()
    queue.put([job(seed=2), job(seed=3)])
    assert seeds(queue.take()) == [1, 2]


def test_a_closed_queue_ends_its_reader():
    queue, taken = JobQueue(3, max_batch=2, wait=60.0), []
    waiting = job()
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    queue.put([waiting])
    queue.close()
    thread.join(10)
    assert taken == [[]] and waiting.future.cancelled()
    with pytest.raises(QueueFull):
        queue.put([job()])
