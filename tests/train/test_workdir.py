import pytest

from jaxedit.config import ConfigError
from jaxedit.train.workdir import Workdir


def fail_in(path, *files):
    with pytest.raises(ConfigError), Workdir(str(path)) as workdir:
        assert workdir.path.exists()
        for name, text in files:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text(text)
        raise ConfigError("bad data")


@pytest.mark.parametrize("files", [[], [("log.txt", "a"), ("metrics.jsonl", "")]])
def test_a_failed_start_leaves_nothing(files, tmp_path):
    (tmp_path / "mine").mkdir()
    fail_in(tmp_path / "mine/runs/first", *files)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints/4", "notes.txt"])
def test_what_was_trained_or_is_not_ours_stays(name, tmp_path):
    fail_in(tmp_path / "run", ("log.txt", "a"), (name, "step 1"))
    assert (tmp_path / "run" / name).read_text() == "step 1"
    assert (tmp_path / "run/log.txt").exists() and not (tmp_path / "run/.lock").exists()


def test_a_directory_that_was_there_stays(tmp_path):
    fail_in(tmp_path, ("log.txt", "a"))
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]


def test_other_ends_leave_it(tmp_path):
    with Workdir(str(tmp_path / "run")):
        pass
    assert (tmp_path / "run").exists()


def test_a_refused_run_does_not_remove_the_other_ones(tmp_path):
    with Workdir(str(tmp_path / "run")), pytest.raises(ConfigError, match="another run"):
        Workdir(str(tmp_path / "run")).__enter__()
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("path", ["/proc/run", __file__])
def test_a_directory_that_cannot_be_made(path):
    with pytest.raises(OSError), Workdir(path):
        pass
