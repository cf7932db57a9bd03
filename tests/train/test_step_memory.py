import copy

import jax
import pytest

from jaxedit import rng
from jaxedit.config import ConfigError
from jaxedit.configs import editar, tokenizer_bsq, tokenizer_vq, var_finest, var_sar
from jaxedit.planning.device_memory import DeviceMemory, total
from jaxedit.train import step_memory
from jaxedit.train.objectives.registry import abstract_objective


@pytest.fixture(scope="module")
def config():
    return var_sar.get_config("tiny")


@pytest.fixture
def quick(monkeypatch):
    """An estimate that needs no tracing: 1 MB a row, twice that without remat."""

    def activations(config, objective, rows):
        return rows * 1_000_000 * (1 if config.remat == "all" else 2)

    monkeypatch.setattr(step_memory, "_activations", activations)


def entries(config, devices=1):
    return {entry.name: entry.nbytes for entry in step_memory.memory_items(config, devices)}


def changed(config, **settings):
    config = copy.deepcopy(config)
    for name, value in settings.items():
        part, _, field = name.rpartition("__")
        setattr(getattr(config, part) if part else config, field, value)
    return config


def test_the_state_is_counted_exactly(config):
    found = entries(changed(config, ema_decay=0.99, data__batch_size=1))
    assert found["activations"] > 1e6
    assert found["Adam's moments"] == 2 * found["parameters"] + 8  # and two counters
    assert found["gradients"] == found["moving average"] == found["parameters"]
    params = jax.eval_shape(abstract_objective(config).init, rng.key_for(0, "init"))
    assert found["parameters"] == 4 * sum(x.size for x in jax.tree.leaves(params))
    assert found["frozen networks"] == pytest.approx(4 * 1_508_971)


def test_a_mesh_cuts_state_and_rows(config, quick):
    one, eight = entries(config), entries(changed(config, mesh__fsdp=8, mesh__data=1), 8)
    assert eight["parameters"] == pytest.approx(one["parameters"] / 8, rel=0.1)
    assert eight["frozen networks"] == one["frozen networks"]
    assert eight["activations"] == one["activations"] / 8
    copies = entries(changed(config, mesh__data=8), 8)
    assert copies["parameters"] == one["parameters"]
    with pytest.raises(ConfigError, match="mesh.fsdp=3, mesh.tensor=1: does not divide the 8"):
        entries(changed(config, mesh__fsdp=3), 8)


def test_levers_save_memory_in_order(config, quick):
    config = changed(config, remat="none", ema_decay=0.99, data__batch_size=16)
    levers = step_memory.memory_savings(config, 2, DeviceMemory(0, "nobody"))
    assert [lever.change.split(" ")[0] for lever in levers] == [
        "--config.remat=all",
        "--config.mesh.data=1",
        "--config.optim.accumulate=8",
        "--config.ema_decay=0",
        "more",
    ]
    assert levers[1].change.endswith("--config.mesh.fsdp=2")
    before = total(step_memory.memory_items(config, 2))
    assert before > levers[0].nbytes > levers[1].nbytes > levers[3].nbytes
    assert config.remat == "none"  # the config itself is untouched


def test_micro_batches_are_no_smaller_than_they_must_be(config, quick):
    config = changed(config, remat="all", data__batch_size=16)  # 8 rows on a device
    one = total(step_memory.memory_items(changed(config, optim__accumulate=8, mesh__fsdp=2), 2))
    for spare, accumulate in ((0, 8), (1e6, 4), (2.9e6, 4), (3e6, 2)):  # 1, 2, 3 and 4 rows fit
        levers = step_memory.memory_savings(config, 2, DeviceMemory(one + spare, "somebody"))
        assert levers[1].change == f"--config.optim.accumulate={accumulate}"
        assert levers[1].nbytes <= one + spare


@pytest.mark.parametrize(
    ("module", "frozen"),
    [(var_finest, "bsq"), (editar, "vq, null, vit"), (tokenizer_bsq, None), (tokenizer_vq, None)],
)
def test_every_kind_of_objective(quick, module, frozen):
    found = {entry.name: entry for entry in step_memory.memory_items(module.get_config("tiny"), 1)}
    assert found["parameters"].nbytes > 1e6
    assert (found["frozen networks"].remark if "frozen networks" in found else None) == frozen
