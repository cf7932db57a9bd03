import pytest

from jaxedit.file_lock import locked


@pytest.fixture(params=["file", "folder"])
def path(request, tmp_path):
    return tmp_path / "new" if request.param == "file" else tmp_path


def test_only_one_holds_a_lock(path):
    with locked(path, "taken"), pytest.raises(OSError, match="^taken$"), locked(path, "taken"):
        pass
    with locked(path, "taken"):  # it is free again
        pass


def test_shared_locks_exclude_others(path):
    with locked(path, "taken", is_shared=True):
        with locked(path, "taken", is_shared=True):
            pass
        with pytest.raises(OSError, match="^taken$"), locked(path, "taken"):
            pass


def test_a_file_system_without_locks(path, monkeypatch):
    import fcntl

    def fail(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "flock", fail)
    with locked(path, "taken"), locked(path, "taken"):
        pass


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "absent" / "file", "taken"):
        pass
