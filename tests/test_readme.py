"""The README is true: its example runs, its commands run, and every path it names exists."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from jaxedit.__main__ import make_parser
from jaxedit.config import OFFICIAL
from jaxedit.convert import __main__ as convert
from jaxedit.data import toybox

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)


def lines_of(language: str) -> list[str]:
    """All command lines of the blocks in `language`, continuation lines joined."""
    text = "".join(block for name, block in BLOCKS if name == language)
    return text.replace("\\\n", " ").splitlines()


COMMANDS = [line for line in lines_of("bash") if line.startswith("python -m jaxedit")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory that looks like the clone, for commands that write beside it."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("jaxedit", "configs"):
        (folder / name).symlink_to(ROOT / name)
    row = '{"image": "jaxedit/assets/scene.png", "instruction": "remove the ball"}\n'
    (folder / "list.jsonl").write_text(row)
    for name in ("source", "target", "instruction"):
        (folder / "my_pairs" / name).mkdir(parents=True)
    for i in range(4):
        pair = toybox.make(0, i, 0)
        Image.fromarray(pair.source).save(folder / f"my_pairs/source/{i}.png")
        Image.fromarray(pair.target).save(folder / f"my_pairs/target/{i}.png")
        (folder / f"my_pairs/instruction/{i}.txt").write_text(pair.instruction)
    return folder


def run(command: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=1800
    )


def test_it_is_short():
    assert len(README.splitlines()) <= 260


def test_paths_exist():
    paths = re.findall(r"[`(]((?:jaxedit|configs|docs|launch|benchmarks)/[\w./*-]+)[`)\s]", README)
    assert len(paths) > 15
    for path in paths:
        assert list(ROOT.glob(path.rstrip("/"))), path


def test_the_example_runs(folder):
    (code,) = [block for name, block in BLOCKS if name == "python"]
    assert len([line for line in code.splitlines() if line]) <= 6
    done = run(["-c", code], folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "edited.png").exists()


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[10:50])
def test_commands_run(line, folder):
    command = shlex.split(line, comments=True)[1:]
    if "jaxedit.train" in command:
        short = {"steps": 2, "data.batch_size": 2, "sample_every": 0, "eval_every": 0}
        command += [f"--config.{name}={value}" for name, value in short.items()]
    done = run(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("line", lines_of("sh"))
def test_commands_that_need_released_weights_are_well_formed(line):
    _, _, module, *arguments = shlex.split(line, comments=True)
    is_convert = module == "jaxedit.convert"
    parsed = (convert.make_parser() if is_convert else make_parser()).parse_args(arguments)
    names = {parsed.settings, *parsed.src} if is_convert else {parsed.model}
    for name in names - {None}:
        assert name in OFFICIAL or re.search(r"[./]", name), name
