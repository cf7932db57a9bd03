import io
import time

import jax
import pytest

from jaxedit.cache import __main__ as command
from jaxedit.checkpoints import hub


@pytest.fixture
def program(monkeypatch, tmp_path):
    """The only program on disk, 1500 bytes; there is also a converted model, of 2 MB."""
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "xla").mkdir()
    (tmp_path / "models" / "varedit").mkdir(parents=True)
    (tmp_path / "models" / "varedit" / "weights").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(hub, "CONVERTED", str(tmp_path / "models"))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "xla"))
    path = tmp_path / "xla" / "jit_a-cache"
    path.write_bytes(bytes(1500))
    yield path
    jax.config.update("jax_compilation_cache_dir", before)


def test_all_is_listed(program, capsys):
    assert command.main([]) == 0
    programs, weights = capsys.readouterr().out.splitlines()
    assert "1.5 kB" in programs and str(program.parent) in programs
    assert "2.0 MB" in weights and weights.endswith("models/varedit")


@pytest.mark.parametrize(
    ("name", "left"), [("programs", [0, 1]), ("weights", [1, 0]), ("all", [0, 0])]
)
def test_only_what_is_named_is_deleted(program, tmp_path, name, left):
    assert command.main([f"--clear={name}", "--yes"]) == 0
    assert [len(list((tmp_path / d).iterdir())) for d in ("xla", "models")] == left


@pytest.mark.parametrize(("answer", "is_there"), [("y\n", False), ("\n", True), ("no\n", True)])
def test_the_user_is_asked(program, monkeypatch, answer, is_there):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    assert command.main(["--clear=programs"]) == 0
    assert program.exists() == is_there


def test_nothing_is_deleted_where_nobody_can_be_asked(program, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert command.main(["--clear=all"]) == 2
    assert capsys.readouterr().err == "error: --clear=all: nobody can be asked; expected --yes\n"
    assert program.exists()


def test_yes_alone_is_refused(capsys):
    assert command.main(["--yes"]) == 2
    assert capsys.readouterr().err == "error: --yes: expected --clear beside it\n"


def test_sizes_and_ages():
    assert [command.size_text(n) for n in (0, 2e3, 2.5e6, 3e10)] == [
        "0.0 kB",
        "2.0 kB",
        "2.5 MB",
        "30.0 GB",
    ]
    ages = [command.age_text(time.time() - s).split() for s in (0, 121, 2 * 86400 + 60)]
    assert ages == [["1", "seconds", "old"], ["2", "minutes", "old"], ["2", "days", "old"]]
