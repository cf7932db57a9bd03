"""The command's options, and its errors."""

import pytest

from jaxedit.config import ServeConfig
from jaxedit.serve import __main__ as command
from jaxedit.serve import options


def test_defaults_and_every_kind_of_value():
    given = options.parse([], "")
    assert given.config == ServeConfig() and given.names == ("toy-varedit",)
    assert given.config.host == "127.0.0.1" and not given.config.log_prompts
    argv = ["--model=a", "--model=b", "--port=0", "--batch_wait_ms=2.5", "--log_prompts"]
    given = options.parse([*argv, "--dtype=float32"], "")
    assert given.names == ("a", "b") and given.placement["dtype"] == "float32"
    expected = ServeConfig(port=0, batch_wait_ms=2.5, log_prompts=True)
    assert given.config == expected


@pytest.mark.parametrize(
    "argument, message",
    [
        ("--port=70000", "port=70000: expected a whole number in [0, 65535]"),
        ("--max_batch=0", "max_batch=0: expected a positive whole number"),
        ("--max_queue=9", "max_queue=9: expected a whole number in [10, inf)"),
        ("--timeout=nan", "timeout=nan: expected a positive number"),
        ("--max_bach=2", "no such argument; did you mean --max_batch?"),
        ("--model=nowhere", "nowhere"),
        ("--model=toy-bsq-missing", "toy-bsq-missing"),
        ("--api_key_file=/nowhere", "--api_key_file=/nowhere: No such file"),
    ],
)
def test_mistakes_are_told_in_a_line(argument, message, capsys):
    assert command.main([argument]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
