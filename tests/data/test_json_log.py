import concurrent.futures
import resource
import signal

import pytest

from jaxedit.data.json_log import JsonLog


def test_lines_are_appended(tmp_path):
    log = JsonLog(tmp_path / "log.jsonl")
    assert log.lines() == []
    log.append({"a": "ü\n\u2028"})
    log.append({})
    assert log.lines() == ['{"a": "\\u00fc\\n\\u2028"}', "{}"]


def test_an_unfinished_line_is_removed(tmp_path):
    log = JsonLog(tmp_path / "log.jsonl")
    log.append({"a": 1})
    with log.path.open("a") as file:
        file.write('{"a": "\u00fc')
    assert log.lines() == ['{"a": 1}']
    log.append({"a": 2})
    assert log.lines() == ['{"a": 1}', '{"a": 2}']


def test_threads_share_it(tmp_path):
    log = JsonLog(tmp_path / "log.jsonl")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: log.append({"i": i, "text": "x" * 10000}), range(64)))
    assert len(log.lines()) == 64 and all(line.endswith('x"}') for line in log.lines())


def test_a_full_disk(tmp_path):
    log = JsonLog(tmp_path / "none" / "log.jsonl")
    with pytest.raises(OSError, match=r"log.jsonl: not written: No such file"):
        log.append({})


def test_a_disk_that_takes_a_part_of_a_line(tmp_path):
    """The file is left as it was, and continues when there is space again."""
    log = JsonLog(tmp_path / "log.jsonl")
    log.append({"a": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"log.jsonl: not written: File too large"):
            log.append({"a": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert log.path.read_text() == '{"a": 1}\n'
    log.append({"a": 2})
    assert log.lines() == ['{"a": 1}', '{"a": 2}']
