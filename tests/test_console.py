import argparse
import io
import os
import pathlib
import subprocess
import sys
from unittest import mock

import pytest

from jaxedit import console
from jaxedit.config import ConfigError
from jaxedit.console import exit_code

ROOT = pathlib.Path(__file__).parents[1]


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


@pytest.mark.parametrize("module", ["jaxedit", "jaxedit.train", "jaxedit.convert"])
def test_a_reader_that_goes_away_ends_nothing(module):
    command = subprocess.Popen(
        [sys.executable, "-m", module, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    command.stdout.close()
    assert (command.stderr.read(), command.wait()) == (b"", 0)
    command.stderr.close()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_lacks_characters_gets_escapes(encoding):
    code = "from jaxedit import console; console.run(lambda argv: print('ä \\u2603', *argv) or 0)"
    shown = subprocess.run(
        [sys.executable, "-c", code, "雪"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    ).stdout
    umlaut = "ä" if encoding != "ascii" else "\\xe4"
    assert shown.decode(encoding).split() == [umlaut, "\\u2603", "\\u96ea"]


def test_streams_that_are_no_files_stay(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)  # as after `2>&-`
    console.prepare_streams()
    assert sys.stdout is stream and sys.stderr is None


def test_words_are_utf_8_in_every_locale():
    assert console.words("rosé ☃") == "rosé ☃"
    as_ascii = "ros\udcc3\udca9"  # how é arrives where the locale is C
    with mock.patch("os.fsencode", lambda text: text.encode("ascii", "surrogateescape")):
        assert console.words(as_ascii) == "rosé"
        assert console.words("ros\xe9") == "rosé"  # what a locale of one byte a letter gives
    for broken in ("ros\udce9", "half a pair \ud83d"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected text in UTF-8"):
            console.words(broken)


@pytest.mark.parametrize("argv", [["--mask="], ["--mask", ""]])
def test_an_option_without_its_value_is_told(argv, capsys):
    parser = console.Parser(prog="edit")
    parser.add_argument("--mask", default="")
    parser.add_argument("text", nargs="?")
    assert parser.parse_args([""]).text == "" and parser.parse_args(["--mask=a"]).mask == "a"
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(argv)
    assert capsys.readouterr().err.startswith("error: --mask='': expected a value (")


COMMANDS = {
    "edit": ["jaxedit", "jaxedit/assets/scene.png", "make the ball blue"],
    "dry run": ["jaxedit", "--dry_run"],
    "train": ["jaxedit.train", "--config=configs/var_sar.py:tiny", "--workdir=nowhere"],
    "check": ["jaxedit.convert", "--check=jaxedit/assets/toy-varedit", "--output=check.png"],
}


@pytest.mark.parametrize(
    ("platform", "command"),
    [
        ("cuda", "edit"),
        pytest.param("cuda", "dry run", marks=pytest.mark.slow),
        pytest.param("cuda", "train", marks=pytest.mark.slow),
        ("cuda", "check"),
        ("tpu,cpu", "edit"),
        ("abacus", "train"),
    ],
)
def test_a_platform_that_is_not_here_is_told_in_one_line(platform, command, tmp_path):
    for name in ("jaxedit", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    ended = subprocess.run(
        [sys.executable, "-m", *COMMANDS[command]],
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": platform},
        capture_output=True,
        text=True,
    )
    assert ended.stderr.startswith(f"error: JAX_PLATFORMS={platform}: "), ended.stderr
    assert ended.stderr.endswith("; unset it to run on what is here\n")
    assert ended.stderr.count("\n") == 1 and ended.returncode == 2
    assert sorted(os.listdir(tmp_path)) == ["configs", "jaxedit"]


def test_an_error_of_ours_is_not_taken_for_a_missing_platform():
    with pytest.raises(RuntimeError, match="ours"):
        exit_code(raises(RuntimeError("ours")))
