"""launch/test_stacks.sh with stand-ins for Pythons: which are found, what they are asked."""

import subprocess

import pytest
from machine import LAUNCH

# Says its version; makes environments of itself; notes what it is asked to install and to test.
STAND_IN = """#!/bin/bash
case "$*" in
  "-c import sys"*) echo {version} ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-c import platform"*) echo "Python {version}" ;;
  -) echo "jax==0.7.2" ;;
  *) echo "{version}" "$*" >>{notes} ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """run(suite's version, versions on the PATH, versions of pyenv) -> (stdout, notes)."""
    notes = tmp_path / "notes"

    def call(suite, on_path=(), of_pyenv=()):
        clone = tmp_path / "clone"
        (clone / "launch").mkdir(parents=True)
        (clone / "launch/test_stacks.sh").write_text((LAUNCH / "test_stacks.sh").read_text())
        places = [(version, f"bin/python{version}") for version in (suite, *on_path)]
        places += [(v, f"home/.pyenv/versions/{v}.1/bin/python") for v in of_pyenv]
        for version, place in places:
            path = tmp_path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(STAND_IN.format(version=version, notes=notes))
            path.chmod(0o755)
        done = subprocess.run(
            ["bash", "launch/test_stacks.sh"],
            cwd=clone,
            env={
                "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
                "HOME": f"{tmp_path}/home",
                "PYTHON": f"python{suite}",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        tests = [line for line in notes.read_text().splitlines() if "pytest" in line]
        return done.stdout, [line.split()[0] for line in tests], notes.read_text()

    return call


@pytest.mark.parametrize(
    ("suite", "on_path", "of_pyenv", "tested"),
    [
        ("3.11", ("3.12", "3.13"), (), ["3.13", "3.12"]),
        ("3.11", (), ("3.12", "3.13"), ["3.13", "3.12"]),
        ("3.11", ("3.13",), (), ["3.13", "3.13"]),
        ("3.13", ("3.12",), ("3.13",), ["3.12", "3.12"]),
    ],
)
def test_newest_and_oldest_on_other_pythons(run, suite, on_path, of_pyenv, tested):
    said, found, notes = run(suite, on_path, of_pyenv)
    assert sorted(found) == sorted(tested)  # both run at once
    assert "smoke tests, newest" in said and "smoke tests, oldest" in said
    (constrained,) = [line for line in notes.splitlines() if "--constraint" in line]
    assert constrained.split()[0] == tested[1] and ".venv-oldest/bounds.txt" in constrained


def test_without_another_python_the_newest_is_said_to_be_left_out(run):
    said, found, _ = run("3.11")
    assert found == ["3.11"] and "smoke tests, oldest" in said
    assert "no Python 3.12 or 3.13 beside 3.11: the newest jax is not tested" in said
