import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxedit.train.stop_signal import StopSignal, on_ctrl_c


def press():
    os.kill(os.getpid(), signal.SIGINT)


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_ctrl_c_acts_in_another_thread_and_every_time():
    seen = []
    before = signal.getsignal(signal.SIGINT)
    with on_ctrl_c(lambda: seen.append(threading.current_thread())):
        for presses in (1, 2, 3):
            press()
            until(lambda n=presses: len(seen) == n)
    assert threading.main_thread() not in seen
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        press()
        time.sleep(1)


def test_the_inner_one_counts():
    outer, inner = [], []
    with on_ctrl_c(lambda: outer.append(1)):
        with on_ctrl_c(lambda: inner.append(1)):
            press()
            until(lambda: inner)
        press()
        until(lambda: outer)
    assert (len(outer), len(inner)) == (1, 1)


def test_what_a_shell_started_in_the_background_stays_deaf():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with on_ctrl_c(lambda: pytest.fail("heard")):
            press()
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_change_nothing():
    def work():
        with on_ctrl_c(lambda: None):
            found.append(signal.getsignal(signal.SIGINT))

    found, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_requests(caplog):
    caplog.set_level(logging.INFO)
    with StopSignal(is_alone=True) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        until(lambda: stop.requested)
        assert stop.by == "SIGTERM"
    with StopSignal(is_alone=True) as stop:
        stop.listen_to_ctrl_c()
        press()
        until(lambda: stop.requested)
        assert stop.by == "Ctrl-C" and "Ctrl-C: saving; again to end at once" in caplog.text


def test_one_of_several_passes_it_on():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with StopSignal(is_alone=False) as stop:
            stop.listen_to_ctrl_c()
            press()
            until(lambda: seen)
            assert stop.by == "Ctrl-C" and not stop.requested
    finally:
        signal.signal(signal.SIGTERM, before)


BUSY = """
import hashlib, threading
from jaxedit.train.stop_signal import StopSignal
with StopSignal(is_alone=True) as stop:
    stop.listen_to_ctrl_c()
    print("up", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes outside of Python
"""


def test_a_second_one_ends_a_process_that_is_busy_outside_of_python():
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == "up\n"
        p.send_signal(signal.SIGINT)
        assert p.stderr.readline() == "Ctrl-C: saving; again to end at once\n"
        p.send_signal(signal.SIGINT)
        assert p.wait(10) == 130
        assert p.stderr.read().startswith("Ctrl-C: ended; the same command goes on from the newest")
