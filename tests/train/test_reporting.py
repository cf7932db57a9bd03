import logging

import pytest

from jaxedit.config import ConfigError
from jaxedit.train.reporting import only_reported


def fail(error):
    with only_reported("the plot"):
        raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a\nb  c"), "a b c"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 1000), "x" * 300),
    ],
)
def test_a_failure_is_one_line(caplog, error, reason):
    fail(error)
    assert caplog.record_tuples == [
        (
            "jaxedit.train.reporting",
            logging.WARNING,
            f"the plot failed, the run goes on: {reason}",
        )
    ]


def test_success_says_nothing(caplog):
    with only_reported("the plot"):
        pass
    assert not caplog.messages


@pytest.mark.parametrize("error", [ConfigError("bad"), KeyboardInterrupt()])
def test_settings_and_the_user_still_end_the_run(error):
    with pytest.raises(type(error)):
        fail(error)
