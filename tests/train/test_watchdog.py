import math
import time

from jaxedit.train.watchdog import Phase, Watchdog

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
