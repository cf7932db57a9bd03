import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from etils import epath

from jaxedit.config import ConfigError
from jaxedit.train import lock
from jaxedit.train.lock import Lock

PERIOD = 0.1
HOLD = """
import sys, time
from etils import epath
from jaxedit.train.lock import Lock
with Lock(epath.Path(sys.argv[1]), period=0.1):
    print("held", flush=True)
    time.sleep(60)
"""


def take(directory):
    return Lock(epath.Path(directory), period=PERIOD)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a directory."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture(params=["flock", "numbers"])
def storage(request, monkeypatch):
    """Storage with and without locks of the operating system."""
    if request.param == "numbers":
        monkeypatch.setattr(lock, "fcntl", None)
    return request.param


def test_held_and_given_back(tmp_path, storage):
    for _ in range(2):
        with take(tmp_path):
            note = json.loads((tmp_path / ".lock").read_text())
            assert note["process"] == os.getpid()
        assert not list(tmp_path.iterdir())


def test_the_second_is_told_who_has_it_and_writes_nothing(tmp_path, storage):
    with take(tmp_path):
        with pytest.raises(ConfigError) as error, take(tmp_path):
            pass
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    text = str(error.value)
    assert text.startswith(f"another run trains in {tmp_path} (process {os.getpid()} on ")
    assert ", since 20" in text and "choose another --workdir" in text and "\n" not in text


def test_another_process_has_it(tmp_path, holder):
    with pytest.raises(ConfigError, match=f"process {holder.pid} on "), take(tmp_path):
        pass


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_leaves_no_lock(tmp_path, holder, sign):
    holder.send_signal(sign)
    holder.wait()
    assert (tmp_path / ".lock").exists()
    begin = time.monotonic()
    with take(tmp_path):
        assert time.monotonic() - begin < 2 * PERIOD  # nothing to wait for


def test_a_stopped_process_keeps_its_lock(tmp_path, holder):
    holder.send_signal(signal.SIGSTOP)
    time.sleep(4 * PERIOD)
    with pytest.raises(ConfigError, match="another run"), take(tmp_path):
        pass


def note_of_another_machine(directory, **changes):
    note = {"host": "far", "machine": "far 1", "process": 7, "since": "2001", "key": "k"}
    (directory / ".lock").write_text(json.dumps(note | {"number": 3} | changes))


def test_another_machine_that_lives(tmp_path, monkeypatch, storage):
    note_of_another_machine(tmp_path)
    pause = time.sleep

    def meanwhile(seconds):  # the other one writes
        note_of_another_machine(tmp_path, number=4)
        pause(seconds)

    monkeypatch.setattr(time, "sleep", meanwhile)
    with pytest.raises(ConfigError, match=r"process 7 on far, since 2001"), take(tmp_path):
        pass


@pytest.mark.parametrize("text", [None, "", "{", "not json"])
def test_another_machine_that_is_gone(tmp_path, text, storage, caplog):
    note_of_another_machine(tmp_path)
    if text is not None:
        (tmp_path / ".lock").write_text(text)
    caplog.set_level(logging.INFO)
    with take(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert ("a run on far may be alive: watching" in caplog.text) == (text is None)


def test_storage_that_refuses_to_lock(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with take(tmp_path), pytest.raises(ConfigError, match="another run"), take(tmp_path):
        pass


def test_a_bucket(bucket):
    directory = epath.Path("gs://bucket/run")
    directory.mkdir(parents=True)
    with take(directory), pytest.raises(ConfigError, match="another run"), take(directory):
        pass
    with take(directory):
        pass
    assert not [name for name in bucket if "lock" in name]


def test_a_lock_that_was_taken_away_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "fcntl", None)
    with take(tmp_path):
        note_of_another_machine(tmp_path)
        end = time.monotonic() + 10
        while "end one of the two" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
    assert "another run trains in" in caplog.text and "(process 7 on far" in caplog.text
    assert json.loads((tmp_path / ".lock").read_text())["host"] == "far"
