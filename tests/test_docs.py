"""The README and the documentation are true: what they show runs, and what they name exists."""

import ast
import doctest
import importlib
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import jax
import pytest
from PIL import Image

from jaxedit import console
from jaxedit.config import OFFICIAL, families
from jaxedit.convert import __main__ as convert
from jaxedit.data import toybox
from jaxedit.editor import provenance
from jaxedit.editor.__main__ import make_parser
from jaxedit.sampling import methods

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]


def blocks_of(page: pathlib.Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def lines_of(language: str) -> list[str]:
    """All command lines of the blocks in `language`, page by page, continuation lines joined."""
    text = "".join(block for page in PAGES for block in blocks_of(page, language))
    return text.replace("\\\n", " ").splitlines()


EXAMPLES = [path for path in sorted(ROOT.glob("jaxedit/**/*.py")) if ">>>" in path.read_text()]
COMMANDS = [line for line in lines_of("bash") if line.startswith("python -m jaxedit")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory that looks like the clone, for commands that write beside it."""
    folder = tmp_path_factory.mktemp("docs")
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


@pytest.fixture
def one_device(monkeypatch):
    """JAX sees a single device, for which programs compile in half the time."""
    one = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)
    monkeypatch.setattr(jax, "device_count", lambda: 1)


def run(
    command: list[str], folder: pathlib.Path, **environment: str
) -> subprocess.CompletedProcess:
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    folders = "jaxedit|configs|docs|launch|benchmarks|tests|notebooks|integrations"
    for path in re.findall(rf"[`(]((?:{folders})/[\w./*-]+)[`)\s]", text):
        assert list(ROOT.glob(path.rstrip("/"))), path
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), target


def anchors_of(page: pathlib.Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["how_it_works", "extend"])
def test_every_page_of_a_folder_is_on_its_own_page(name):
    named = re.findall(rf"\(({name}/\w+\.md)\)", (ROOT / f"docs/{name}.md").read_text())
    assert named and set(named) == {f"{name}/{p.name}" for p in ROOT.glob(f"docs/{name}/*.md")}


@pytest.fixture
def registries(monkeypatch):
    """What pages on extending add to is as before afterwards."""
    monkeypatch.setattr(methods, "RULES", methods.RULES)
    monkeypatch.setattr(families, "FAMILIES", families.FAMILIES)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/extend/*.md")), ids=lambda page: page.stem)
def test_code_that_extends_runs(page, registries):
    code = "".join(blocks_of(page, "python"))
    exec(compile(code, page.name, "exec"), {"__name__": "page"})
    assert code.count("assert ") >= 2


def test_every_page_can_be_reached_from_the_readme():
    named = set(re.findall(r"\(docs/([\w.]+\.md)", README.read_text()))
    of_the_site = {"index.md", "contributing.md", "changes.md"}
    assert named | of_the_site == {path.name for path in ROOT.glob("docs/*.md")}


def test_the_site_builds_without_a_warning(tmp_path):
    command = ["-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(tmp_path)]
    done = run(command, ROOT, JAXEDIT_DOCS_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert "Edit a picture" in (tmp_path / "api.html").read_text()


def test_the_example_runs(folder):
    (code,) = blocks_of(README, "python")
    assert len([line for line in code.splitlines() if line]) <= 6
    done = run(["-c", code], folder)
    assert done.returncode == 0, done.stderr
    assert provenance.read_settings(folder / "edited.png")["source"] == "scene.png"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_in_docstrings(path, one_device, monkeypatch):
    """In the order of the file; later examples use the names of earlier ones."""
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    runner, names = doctest.DocTestRunner(), dict(vars(module))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            test = doctest.DocTestParser().get_doctest(
                text, names, node.name, str(path), node.lineno
            )
            test.globs = names
            runner.run(test, clear_globs=False)
    assert runner.tries and not runner.failures


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[10:50])
def test_commands_run(line, folder, one_device, monkeypatch):
    """As modules of this process: its programs are compiled already, most of them."""
    _, _, module, *arguments = shlex.split(line, comments=True)
    if module == "jaxedit.train":
        short = {"steps": 2, "data.batch_size": 2, "sample_every": 0, "eval_every": 0}
        arguments += [f"--config.{name}={value}" for name, value in short.items()]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(console, "prepare_streams", lambda: None)  # pytest's are no terminal
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, f"{module}.__main__", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert ended.value.code == 0


@pytest.mark.parametrize("line", lines_of("sh"))
def test_commands_that_need_released_weights_are_well_formed(line):
    _, _, module, *arguments = shlex.split(line, comments=True)
    is_convert = module == "jaxedit.convert"
    parsed = (convert.make_parser() if is_convert else make_parser()).parse_args(arguments)
    names = {parsed.settings, *parsed.src} if is_convert else {parsed.model}
    for name in names - {None}:
        assert name in OFFICIAL or re.search(r"[./]", name), name
