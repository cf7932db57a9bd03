import signal

import pytest
from machine import ended, until

SCRIPT = "until_done.sh"


@pytest.fixture
def train(machine):
    """Make a training that ends with these codes, one after another."""

    def make(*codes):
        notes = machine.directory / "train.calls"
        codes = " ".join(map(str, codes))
        machine.add("train", f'codes=({codes}); exit "${{codes[$(wc -l <{notes}) - 1]}}"')

    return make


def test_it_goes_on_until_the_code_is_final(machine, train):
    train(42, 137, 134, 0, 0)
    code, out = machine.run(SCRIPT, "train", "a b", "c", PAUSE="0", CODE="code")
    assert code == 0 and machine.calls("train") == [["a b", "c"]] * 4
    assert [line.split()[3] for line in out.splitlines()] == ["42,", "137,", "134,"]
    assert (machine.directory / "code").read_text() == "0\n"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 41, 43, 126, 130])
def test_final_codes(machine, train, code):
    train(code)
    assert machine.run(SCRIPT, "train") == (code, "")
    assert len(machine.calls("train")) == 1


def test_it_gives_up_what_ends_at_once(machine, train):
    train(*[42] * 9)
    code, out = machine.run(SCRIPT, "train", PAUSE="0", TRIES="3", CODE="code")
    assert code == 1 and "gave up after 3 runs of less than 600 s; last exit code: 42" in out
    assert len(machine.calls("train")) == 3
    assert (machine.directory / "code").read_text() == "1\n"


def test_long_runs_do_not_count(machine, train):
    train(*[42] * 9, 0)
    assert machine.run(SCRIPT, "train", PAUSE="0", TRIES="1", QUICK="0")[0] == 0


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_nothing_started_again(machine, sign):
    machine.add("train", "trap 'exit 42' TERM; touch up; while :; do sleep 0.05; done")
    loop = machine.start(SCRIPT, "train", PAUSE="0")
    until((machine.directory / "up").exists, loop)
    loop.send_signal(sign)
    assert ended(loop) == (42, "") and len(machine.calls("train")) == 1


def test_a_signal_between_two_runs(machine, train):
    train(42, 0)
    loop = machine.start(SCRIPT, "train", PAUSE="60")
    assert "starting again in 60 s" in loop.stdout.readline()
    loop.terminate()
    assert ended(loop)[0] == 42 and len(machine.calls("train")) == 1


def test_usage(machine):
    code, out = machine.run(SCRIPT)
    assert code == 2 and "Usage: launch/until_done.sh command" in out
