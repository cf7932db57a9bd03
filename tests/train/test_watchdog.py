import time

from jaxedit.train.watchdog import Phase, Watchdog

QUICK, SLOW = Phase("a nap", 0.02, "drink coffee"), Phase("the night", 60.0, "wait")


def test_warns_of_what_takes_too_long_and_less_and_less_often(caplog):
    with Watchdog(tick=0.005) as watchdog:
        watchdog.enter(QUICK, 7)
        time.sleep(0.5)
    assert caplog.messages[0] == "step 7: a nap has taken 0.0 minutes: drink coffee"
    assert 1 <= len(caplog.messages) <= 6  # at 0.02, 0.04, ... s, at most


def test_is_silent_in_time_and_between_runs(caplog):
    with Watchdog(tick=0.005) as watchdog:
        time.sleep(0.03)
        watchdog.enter(QUICK)
        watchdog.enter(SLOW)
        time.sleep(0.1)
    assert caplog.messages == []
