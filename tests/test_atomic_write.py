import pathlib
import signal
import subprocess
import sys

import pytest

from jaxedit.atomic_write import atomic_write, atomic_write_directory, free_name

KILLED = """
import os, pathlib, signal, sys
from jaxedit.atomic_write import atomic_write_directory
with atomic_write_directory(pathlib.Path(sys.argv[1])) as new:
    (new / "half").write_text("h")
    print(new.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write(target, text):
    with atomic_write_directory(target) as new:
        (new / "file").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_directory_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "deep" / "model [1]"
    write(target, "one")
    (target / "other").touch()
    with atomic_write_directory(target) as new:
        assert names(target) == ["file", "other"] and names(new) == []
        assert len(names(target.parent)) == 2
        (new / "file").write_text("two")
    assert names(target) == ["file"] and (target / "file").read_text() == "two"
    assert names(target.parent) == ["model [1]"] and target.stat().st_mode & 0o777 == 0o755


def test_a_failure_changes_nothing(tmp_path):
    write(tmp_path / "model", "one")
    with pytest.raises(KeyboardInterrupt), atomic_write_directory(tmp_path / "model") as new:
        (new / "file").write_text("two")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["model"] and (tmp_path / "model" / "file").read_text() == "one"


def test_what_a_killed_process_left_is_removed(tmp_path):
    target = tmp_path / "model"
    run = subprocess.run([sys.executable, "-c", KILLED, target], stdout=subprocess.PIPE, text=True)
    assert run.returncode == -signal.SIGKILL and names(tmp_path) == [run.stdout.strip()]
    other = tmp_path / ".model2.new-abc"
    other.mkdir()
    write(target, "one")
    assert names(tmp_path) == [other.name, "model"]


def test_what_a_living_one_writes_stays(tmp_path):
    with atomic_write_directory(tmp_path / "model") as new:
        (new / "file").write_text("slow")
        write(tmp_path / "model", "fast")
        assert new.is_dir()
    assert names(tmp_path) == ["model"] and (tmp_path / "model" / "file").read_text() == "slow"


def test_a_directory_that_was_moved_away_is_taken_back(tmp_path):
    write(tmp_path / "model", "one")
    (tmp_path / "model").rename(tmp_path / ".model.old-x")  # killed between the two renames
    with pytest.raises(ZeroDivisionError), atomic_write_directory(tmp_path / "model"):
        raise ZeroDivisionError
    assert names(tmp_path) == ["model"]


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), atomic_write_directory(pathlib.Path(tmp_path / "file" / "model")):
        pass


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as part:
        part.write_text("new")
        assert path.read_text() == "old" and part.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_block_that_fails_changes_nothing(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        with atomic_write(path) as part:
            part.write_text("new")
            raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_the_system_says_is_told_in_one_line(tmp_path):
    with pytest.raises(OSError, match="none/a.txt: not written: No such file or directory$"):
        with atomic_write(tmp_path / "none" / "a.txt") as part:
            part.write_text("new")


def test_a_free_name_is_taken_and_given_back_after_an_error(tmp_path):
    path = tmp_path / "a.b.png"
    (tmp_path / "a.b-2.png").symlink_to("nowhere")
    for name in ("a.b.png", "a.b-3.png"):
        with free_name(path) as free:
            assert free == tmp_path / name and free.read_bytes() == b""
    with pytest.raises(KeyboardInterrupt), free_name(path) as free:
        raise KeyboardInterrupt
    assert free.name == "a.b-4.png" and not free.exists()
    with pytest.raises(FileNotFoundError), free_name(tmp_path / "none" / "a.png"):
        pass
