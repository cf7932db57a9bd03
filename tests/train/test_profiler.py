import jax
import jax.numpy as jnp
import pytest
from etils import epath

from jaxedit.train.profiler import Profiler


def profiles(directory):
    return list(directory.glob("plugins/profile/*/*.xplane.pb"))


def steps(profiler, count):
    for _ in range(count):
        profiler.before()
        profiler.after({"loss": jnp.ones(()) + 1})


def test_profile_of_some_steps(tmp_path):
    with Profiler(epath.Path(tmp_path), (2, 3)) as profiler:
        steps(profiler, 2)
        assert not profiles(tmp_path)
        steps(profiler, 1)
        assert len(profiles(tmp_path)) == 1
        steps(profiler, 2)
    assert len(profiles(tmp_path)) == 1


def test_profile_of_a_run_that_ends_early(tmp_path):
    with Profiler(epath.Path(tmp_path), (2, 30)) as profiler:
        steps(profiler, 3)
    assert len(profiles(tmp_path)) == 1


def test_no_profile_unless_asked_for(tmp_path):
    with Profiler(epath.Path(tmp_path), None) as profiler:
        steps(profiler, 3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["start_trace", "stop_trace"])
def test_a_profiler_that_fails_ends_no_run(tmp_path, monkeypatch, caplog, call):
    def fail(*_):
        raise RuntimeError("only one profile\nat a time")

    stop = jax.profiler.stop_trace
    monkeypatch.setattr(jax.profiler, call, fail)
    with Profiler(epath.Path(tmp_path), (1, 2)) as profiler:
        steps(profiler, 3)
    if call == "stop_trace":
        stop()
    assert caplog.messages == ["the profile failed, the run goes on: only one profile at a time"]
