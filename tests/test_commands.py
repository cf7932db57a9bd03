import shutil
import subprocess
import sys

import pytest

from jaxedit import commands
from jaxedit.__main__ import main


@pytest.mark.parametrize(
    ("argument", "near"),
    [
        ("trian", "train"),
        ("analyze", "analyse"),
        ("photo", None),
        ("photo.jpg", None),
        ("./trian", None),
        ("--trian", None),
    ],
)
def test_the_nearest_command(argument, near):
    assert commands.nearest_command(argument) == near


def test_a_picture_named_like_a_command(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trian").touch()
    assert commands.nearest_command("trian") is None


def test_a_mistyped_command_ends_in_one_line(capsys):
    assert main(["covnert", "--list"]) == 2
    assert capsys.readouterr().err == (
        "error: covnert: no such command or file; did you mean convert?\n"
    )


def test_a_command_gets_its_own_arguments():
    command = [sys.executable, "-m", "jaxedit", "cache", "--clar=all"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --clar=all: no such argument; did you mean --clear?")


@pytest.fixture
def environment(tmp_path):
    """The variables of a shell in which `jaxedit` has two options."""
    jaxedit = tmp_path / "jaxedit"
    jaxedit.write_text("#!/bin/sh\necho '  --clear {all}   --yes'\n")
    jaxedit.chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def test_bash_completes_commands_and_options(environment):
    ask = "COMP_WORDS=({words}); COMP_CWORD={last}; COMPREPLY=(); _jaxedit; echo ${{COMPREPLY[@]}};"
    script = (
        commands.completion_script("bash")
        + ask.format(words="jaxedit c", last=1)
        + ask.format(words="jaxedit cache --c", last=2)
        + ask.format(words="jaxedit cache c", last=2)
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout == "convert cache completion\n--clear\n\n", done.stderr


@pytest.mark.skipif(not shutil.which("zsh"), reason="apt install zsh")
def test_zsh_completes_commands_and_options(environment):
    replaced = "compdef() {}; compadd() { echo ${@:2} }; _files() { echo files };"
    ask = "words=(jaxedit {words}); CURRENT={last}; _jaxedit;"
    script = (
        f"{replaced} {commands.completion_script('zsh')}"
        + ask.format(words="c", last=2)
        + ask.format(words="cache --c", last=3)
        + ask.format(words="cache c", last=3)
    )
    done = subprocess.run(["zsh", "-fc", script], capture_output=True, text=True, env=environment)
    names = " ".join([*commands.COMMANDS, commands.COMPLETION])
    assert done.stdout == f"{names}\nfiles\n--clear --yes\nfiles\n", done.stderr


def test_a_shell_that_is_not_known(capsys):
    assert main(["completion", "fish"]) == 2
    assert capsys.readouterr().err == "error: completion fish: expected bash or zsh\n"
