import dataclasses
import gc
import importlib.metadata
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as ocp

from jaxedit.checkpoints.train_state import BucketError, Checkpoints
from jaxedit.config import ConfigError, MeshConfig
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
from jaxedit.train.step import TrainState

# Reads that Orbax gives up leave errors behind, which Python reports whenever it collects them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# Orbax 0.11 does not find by itself how JSON was saved.
JSON_IS_FOUND = importlib.metadata.version("orbax-checkpoint") >= "0.12"


@pytest.fixture(autouse=True, scope="module")
def collected():
    """Collect them here, not in another file's test."""
    yield
    gc.collect()


def make_state(size=4, **changes):
    params = {"mlp": {"up": {"kernel": jnp.arange(4.0 * size).reshape(size, 4)}}}
    opt_state = optax.adam(1e-3).init(params)
    state = TrainState(step=jnp.int32(3), params=params, opt_state=opt_state, ema_params={})
    return dataclasses.replace(state, **changes)


def abstract_on(state, mesh):
    layout = rules.state_shardings(state, mesh)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, layout
    )


def save(path, steps=(3,), **options):
    with Checkpoints(path, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(), {"steps": step})


def test_restores_on_another_mesh(tmp_path):
    save(tmp_path)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 3
        assert checkpoints.config(3) == {"steps": 3}
        state = checkpoints.restore(3, abstract_on(make_state(), mesh))
    jax.tree.map(np.testing.assert_array_equal, state, make_state())
    kernel = state.params["mlp"]["up"]["kernel"]
    assert kernel.sharding.spec == jax.sharding.PartitionSpec("fsdp", "tensor")


def test_keeps_the_newest(tmp_path):
    save(tmp_path, steps=(1, 2, 3), keep=2)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 3
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.isdigit()) == ["2", "3"]


def save_with(path, losses, keep=2):
    with Checkpoints(path, keep=keep) as checkpoints:
        for step, val_loss in losses.items():
            metrics = {} if val_loss is None else {"val/loss": val_loss, "val/success": 0.5}
            checkpoints.save(step, make_state(), {}, metrics)
        return checkpoints.best()


def numbers(path):
    return sorted(int(p.name) for p in path.iterdir() if p.name.isdigit())


def test_keeps_the_lowest_validation_loss(tmp_path):
    losses = {1: None, 2: 0.5, 3: 0.4, 4: 0.6, 5: None, 6: 0.4}
    assert save_with(tmp_path, losses) == (3, 0.4)  # the earliest of several
    assert numbers(tmp_path) == [3, 5, 6]
    with Checkpoints(tmp_path) as checkpoints:  # it is found again
        assert checkpoints.best() == (3, 0.4)
        is_best = [checkpoints.is_best({"val/loss": x}) for x in (0.4, 0.3, float("nan"))]
        assert is_best == [False, True, False] and not checkpoints.is_best({"val/success": 1.0})
    assert save_with(tmp_path, {7: 0.3}) == (7, 0.3)
    assert numbers(tmp_path) == [6, 7]


def test_keeps_the_highest_of_another_metric(tmp_path):
    with Checkpoints(tmp_path, keep=1, best_metric="val/success") as checkpoints:
        for step, success in enumerate((0.2, 0.6, 0.4, 0.6), 1):
            metrics = {"val/loss": 1 / step, "val/success": success}
            checkpoints.save(step, make_state(), {}, metrics)
    assert numbers(tmp_path) == [2, 4]
    with Checkpoints(tmp_path, best_metric="val/success") as checkpoints:
        assert checkpoints.best() == (2, 0.6)
    with Checkpoints(tmp_path) as checkpoints:  # all metrics are saved with the state
        assert checkpoints.best() == (4, 0.25)


def test_a_loss_that_cannot_be_read_counts_as_none(tmp_path):
    save_with(tmp_path, {2: 0.5, 3: 0.6})
    (tmp_path / "2/data/metadata").write_text("[")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best() == (3, 0.6)


def test_same_step_is_saved_once(tmp_path):
    save(tmp_path, steps=(3, 3))


def test_a_full_disk_is_told_in_one_line_and_earlier_ones_stay(tmp_path, monkeypatch):
    save(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(OSError, match="no room for a checkpoint: .* complete one is of step 3"):
        save(tmp_path, steps=(4,))
    assert [p.name for p in tmp_path.iterdir()] == ["3"]


def other_state(names):
    """A state whose kernels have the given names and widths."""
    params = {
        name: {"kernel": jnp.zeros((4, width))} for name, width in zip(names, (4, 8), strict=False)
    }
    opt_state = optax.adam(1e-3).init(params)
    return TrainState(step=jnp.int32(3), params={"mlp": params}, opt_state=opt_state, ema_params={})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            lambda: make_state(size=8),
            r"3 of its .*: params/mlp/up/kernel is \(4, 4\), not \(8, 4\); opt_",
        ),
        (
            lambda: other_state(["down"]),
            r"params/mlp/down/kernel is only in this config.* and 2 more; choose another",
        ),
        (
            lambda: other_state(["up", "down"]),
            r"7 of its arrays differ: params/mlp/down/kernel is only in this config",
        ),
        (lambda: make_state(opt_state=()), r"opt_state/0/count is only in the checkpoint"),
        (
            lambda: make_state(ema_params=make_state().params),
            "1 of .*: ema_params/mlp/up/kernel",
        ),
    ],
)
def test_what_differs_is_told_in_one_line(tmp_path, caplog, asked, message):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, make_state(), {"model": {"model_type": "varedit"}})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ConfigError, match=message) as told:
        checkpoints.restore(3, abstract_on(asked(), make_mesh(MeshConfig())))
    text = str(told.value)
    assert f"{tmp_path} does not fit this config: a model of type varedit lies there" in text
    assert "\n" not in text and len(text) < 700
    gc.collect()
    assert not caplog.records  # of asyncio, about reads that nobody waited for


@pytest.mark.parametrize("pattern", ["d/*", "_METADATA", "manifest.ocdbt", "_*"])
def test_a_damaged_checkpoint_is_told_in_one_line(tmp_path, pattern):
    save(tmp_path)
    for file in (tmp_path / "3/state").glob(pattern):
        file.unlink()
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ConfigError) as told:
        checkpoints.restore(3, abstract_on(make_state(), make_mesh(MeshConfig())))
    text = str(told.value)
    assert text.startswith(f"checkpoint 3 in {tmp_path} cannot be read: ") and "\n" not in text


def test_lost_processes_are_not_waited_for(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    closed = []
    monkeypatch.setattr(checkpoints._manager, "close", lambda: closed.append(True))
    for processes, error, waits in (
        (1, OSError(), True),
        (2, jax.errors.JaxRuntimeError("UNAVAILABLE"), False),
        (2, OSError("disk full"), True),
        (2, TimeoutError("nobody came to async_write_complete"), False),
        (2, None, True),
    ):
        monkeypatch.setattr(jax, "process_count", lambda n=processes: n)
        checkpoints.__exit__(type(error), error, None)
        assert closed == [True] * waits, error
        closed.clear()


@pytest.mark.parametrize(
    ("directory", "kind"), [("/disk/run", OSError), ("gs://bucket/run", BucketError)]
)
def test_what_may_be_taken_later_is_told_apart(tmp_path, monkeypatch, directory, kind):
    checkpoints = Checkpoints(tmp_path)

    def fail(*_, **__):
        raise ValueError("503 try later\nat line 7")

    monkeypatch.setattr(checkpoints, "directory", directory)
    monkeypatch.setattr(checkpoints, "_require_space", lambda state: None)
    monkeypatch.setattr(checkpoints._manager, "save", fail)
    with pytest.raises(OSError, match="^[a-z:/]*run: a .* was not written: 503 try later$") as told:
        checkpoints.save(3, make_state(), {})
    assert type(told.value) is kind


def test_readable_by_the_next_orbax(tmp_path):
    save(tmp_path)
    state = abstract_on(make_state(), make_mesh(MeshConfig()))
    config = {"config": None} if JSON_IS_FOUND else {}
    loaded = ocp.load_checkpointables(tmp_path / "3", {"state": state, **config})
    assert loaded.get("config", {"steps": 3}) == {"steps": 3}
    kernel = loaded["state"].params["mlp"]["up"]["kernel"]
    np.testing.assert_array_equal(kernel, make_state().params["mlp"]["up"]["kernel"])
