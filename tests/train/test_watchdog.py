import logging
import math
import time

import pytest

from jaxedit.train.watchdog import Phase, Watchdog

BEAT = 0.02
QUICK, SLOW = Phase("a nap", 0.02, "drink coffee"), Phase("the night", 60.0, "wait")


def told(caplog):
    """What it said; other loggers may speak as well."""
    return [r.message for r in caplog.records if r.name == "jaxedit.train.watchdog"]


def test_warns_of_what_takes_too_long_and_less_and_less_often(caplog):
    start = time.monotonic()
    with Watchdog(tick=0.005) as watchdog:
        watchdog.enter(QUICK, 7)
        while len(told(caplog)) < 3:
            time.sleep(0.005)
    taken = time.monotonic() - start
    assert told(caplog)[0] == "step 7: a nap has taken 0.0 minutes: drink coffee"
    assert len(told(caplog)) <= 1 + math.log2(taken / QUICK.seconds)  # at 0.02, 0.04, ... s


def test_is_silent_in_time_and_between_runs(caplog):
    with Watchdog(tick=0.005) as watchdog:
        time.sleep(0.03)
        watchdog.enter(SLOW)
        time.sleep(0.1)
    assert told(caplog) == []


def test_a_phase_ends_the_one_before(caplog):
    with Watchdog(tick=0.005) as watchdog:
        watchdog.enter(QUICK)
        while not told(caplog):
            time.sleep(0.005)
        watchdog.enter(SLOW)
        before = len(told(caplog))
        time.sleep(0.2)
    assert len(told(caplog)) <= before + 1  # one may be on its way


def test_says_again_and_again_what_goes_on(caplog):
    caplog.set_level(logging.INFO)
    with Watchdog(SLOW, tick=0.005, beat=BEAT) as watchdog:
        while "still the night, 0 s" not in told(caplog):
            time.sleep(0.005)
        watchdog.enter(SLOW, 1)
        caplog.clear()
        while len(told(caplog)) < 2:
            time.sleep(0.005)
        watchdog.enter(SLOW._replace(name="the day"))
        while "still the day, 0 s" not in told(caplog):
            time.sleep(0.005)
    assert told(caplog)[:2] == ["step 1: still the night, 0 s"] * 2


def test_short_phases_do_not_add_up_to_silence(caplog):
    caplog.set_level(logging.INFO)
    with Watchdog(tick=0.005, beat=BEAT) as watchdog:
        while not told(caplog):  # each phase is shorter than a beat
            watchdog.enter(SLOW)
            time.sleep(BEAT / 4)


@pytest.mark.parametrize("is_resting", [True, False])
def test_says_nothing_of_what_is_quick_or_told_elsewhere(caplog, is_resting):
    caplog.set_level(logging.INFO)
    with Watchdog(tick=0.005, beat=BEAT) as watchdog:
        watchdog.enter(SLOW._replace(is_logged=False))
        if is_resting:
            watchdog.enter(SLOW)
            watchdog.rest()
        time.sleep(5 * BEAT)
    assert told(caplog) == []
