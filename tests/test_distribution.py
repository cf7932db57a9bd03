"""The source distribution, and what pip installs of the wheel that is built from it."""

import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

import jaxedit

ROOT = pathlib.Path(__file__).parents[1]
COPIED = ("jaxedit", "configs", "docs", "launch", "notebooks", "benchmarks", "integrations")


class Built(NamedTuple):
    """Both distributions, unpacked and installed."""

    source: pathlib.Path  # the unpacked source distribution
    site: pathlib.Path  # what pip installed of the wheel, and nothing else


def run(*command: str, cwd: pathlib.Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """Both distributions, built without a network and without compressing the weights again."""
    out = tmp_path_factory.mktemp("distribution")
    eggs = ("egg_info", f"--egg-base={out}")
    run("setup.py", "-q", *eggs, "sdist", f"--dist-dir={out}", cwd=ROOT)
    archive = out / f"jaxedit-{jaxedit.__version__}.tar.gz"
    shutil.unpack_archive(archive, out, filter="data")
    source, site = out / archive.name.removesuffix(".tar.gz"), out / "site"
    build = ("bdist_wheel", "--compression=stored", f"--dist-dir={out}")
    run("setup.py", "-q", *build, cwd=source)
    [wheel] = out.glob("*.whl")
    offline = ("--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check")
    run("-m", "pip", "install", "--quiet", *offline, f"--target={site}", str(wheel), cwd=out)
    return Built(source, site)


def files_of(folder: pathlib.Path) -> set[str]:
    """The files below a folder, without what Python compiled."""
    walk = os.walk(folder, followlinks=True)
    paths = (pathlib.Path(place, name) for place, _, names in walk for name in names)
    return {str(path.relative_to(folder)) for path in paths if path.suffix != ".pyc"}


def test_the_source_distribution_holds_what_it_names(built):
    for name in COPIED:
        missing = files_of(ROOT / name) - files_of(built.source / name)
        assert missing <= {"test.sh", "test_stacks.sh"}, missing  # which need the tests
    assert not (built.source / "tests").exists()
    readme = (built.source / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", readme):
        assert (built.source / target).exists(), target


def test_the_wheel_holds_every_file_of_the_package(built):
    assert files_of(built.site / "jaxedit") == files_of(ROOT / "jaxedit")


def test_it_runs_from_another_folder(built, tmp_path):
    path = {"PYTHONPATH": str(built.site)}
    page = run(str(built.site / "bin/jaxedit"), "--help", cwd=tmp_path, **path)
    assert "make the ball blue" in page
    code = (
        "import jaxedit, pathlib; from jaxedit import assets; from jaxedit.checkpoints import hub;"
        "print(jaxedit.__file__, hub.resolve('toy-varedit'), (assets.ROOT / 'scene.png').stat())"
    )
    assert run("-c", code, cwd=tmp_path, **path).count(str(built.site)) == 2


def test_the_metadata(built):
    [file] = built.site.glob("jaxedit-*.dist-info/METADATA")
    data = email.message_from_string(file.read_text("utf-8"))
    assert data["Author"] == "The jaxedit founders" and data["Version"] == jaxedit.__version__
    assert len(data.get_all("Classifier")) > 10 and len(data.get_all("Project-URL")) >= 3
    assert data["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)", data.get_payload())
    assert len(links) > 30 and all(link.startswith("https://") for link in links)
