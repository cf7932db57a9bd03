import jax.numpy as jnp
from etils import epath

from jaxedit.train.profile import Profiler


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
