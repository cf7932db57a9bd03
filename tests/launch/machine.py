"""A machine on which the programs that the launch files call are stand-ins that take notes."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"
PATIENCE = 100  # seconds; an idle machine needs one
# Shells cannot trap what was ignored before them, as SIGINT is in a background job.
HEARS_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("bash", ["bash", *sys.argv[1:]])
"""


class Machine:
    """A directory of stand-ins that come before the real programs."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "bin").mkdir()

    def add(self, name, script=""):
        """Put a program in place that writes its arguments down and then runs `script`."""
        notes = self.directory / f"{name}.calls"
        path = self.directory / "bin" / name
        # one write a call: programs that run at once share the file
        note = f"printf -v note '%s\\037' \"$@\"; printf '%s\\036\\n' \"$note\" >>'{notes}'"
        path.write_text(f"#!/usr/bin/env bash\n{note}\n{script}\n")
        path.chmod(0o755)

    def calls(self, name):
        """The arguments of each call of a stand-in."""
        notes = self.directory / f"{name}.calls"
        calls = notes.read_text().split("\036\n")[:-1] if notes.exists() else []
        return [call.split("\037")[:-1] for call in calls]

    def start(self, script, *arguments, **environment):
        """Start a launch file."""
        path = f"{self.directory / 'bin'}:{os.environ['PATH']}"
        return subprocess.Popen(
            [sys.executable, "-c", HEARS_SIGINT, LAUNCH / script, *arguments],
            env=os.environ | {"PATH": path} | environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script, *arguments, **environment):
        """(exit code, output) of a launch file."""
        return ended(self.start(script, *arguments, **environment))


def ended(process):
    """(exit code, output) of a process that ends by itself."""
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out


def copy_sources(source, target):
    """Copy a folder but not its compiled files, which other tests write at any moment."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def put(path, text):
    """Write a file that a program which waits for it never finds empty."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def until(condition, process=None):
    """Wait for a condition, while a process runs."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
