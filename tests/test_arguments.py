import pytest

from jaxedit.arguments import exit_code
from jaxedit.config import ConfigError


def raises(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("--src=x: expected a folder"), 2, "error: --src=x: expected a folder\n"),
        (OSError("disk full"), 2, "error: disk full\n"),
        (KeyboardInterrupt(), 130, "stopped: run again\n"),
        (SystemExit(2), 2, ""),
        (SystemExit(), 0, ""),
    ],
)
def test_how_a_command_ends(capsys, error, code, said):
    assert exit_code(raises(error), stopped="stopped: run again") == code
    assert capsys.readouterr().err == said


def test_a_command_gives_its_own_code():
    assert exit_code(lambda: 1) == 1


def test_what_is_our_fault_is_not_hidden():
    with pytest.raises(TypeError):
        exit_code(raises(TypeError()))
