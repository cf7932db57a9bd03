import json
import time

import jax
import pytest

from jaxedit import compile_cache, compile_times
from jaxedit.cache.kept import PROGRAM_ENDINGS


@pytest.fixture
def folder(tmp_path):
    """The folder of compiled programs."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_next_start_is_told(folder, monkeypatch):
    name = compile_times.name_of("toy", 1, "float32")
    assert compile_times.last_time(name) == ""
    for seconds in (12.4, 3.2):
        clock = iter([100.0, 100.0 + seconds])
        monkeypatch.setattr(time, "perf_counter", lambda clock=clock: next(clock))
        with compile_times.timed(name):
            pass
        monkeypatch.undo()
        assert compile_times.last_time(name) == f"; this took {seconds:.0f} s the last time"
    assert compile_cache.preparing(name).endswith("; this took 3 s the last time")
    assert compile_times.last_time(compile_times.name_of("toy", 2, "float32")) == ""
    assert compile_times.FILE.endswith(PROGRAM_ENDINGS)  # so that --clear=programs deletes it


def test_old_programs_are_forgotten(folder, monkeypatch):
    monkeypatch.setattr(compile_times, "MOST", 2)
    for name in ("a", "b", "a", "c"):
        with compile_times.timed(name):
            pass
    assert list(json.loads((folder / compile_times.FILE).read_text())) == ["a", "c"]


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": "x"}', '{"a": null}'])
def test_a_damaged_file_tells_nothing(folder, text):
    (folder / compile_times.FILE).write_text(text)
    assert compile_times.last_time("a") == ""
    with compile_times.timed("a"):
        pass
    assert compile_times.last_time("a") == "; this took 0 s the last time"


@pytest.mark.parametrize("place", [None, "gs://bucket/cache", "/proc/missing"])
def test_a_failing_write_ends_nothing(folder, place, monkeypatch):
    monkeypatch.chdir(folder)
    jax.config.update("jax_compilation_cache_dir", place)
    with compile_times.timed("a"):
        pass
    assert compile_times.last_time("a") == "" and not list(folder.iterdir())
