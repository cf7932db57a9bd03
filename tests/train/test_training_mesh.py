import logging

import jax
import pytest

from jaxedit.config import ConfigError, MeshConfig
from jaxedit.configs import finetune, tokenizer_bsq, var_sar
from jaxedit.planning.device_memory import DeviceMemory
from jaxedit.planning.mesh_choice import Machine
from jaxedit.train.objectives.registry import abstract_objective
from jaxedit.train.training_mesh import chosen_mesh, this_machine, workload_of

V5E = DeviceMemory(16e9, "TPU v5 lite")


def choose(config, machine=None):
    return chosen_mesh(config, abstract_objective(config), machine)


def test_2b_by_hand(caplog):
    config = var_sar.get_config("2b")
    load = workload_of(config, abstract_objective(config))
    assert load.nbytes == pytest.approx(
        4 * 4 * 2.2e9 + 2 * 1.22e9 + 4 * 0.11e9, rel=0.01
    )  # T5, BSQ
    assert (load.rows, load.heads) == (960, 16)
    with caplog.at_level(logging.INFO):
        assert choose(config, Machine(256, 1, V5E)) == MeshConfig(data=8, fsdp=8, tensor=4)
    (record,) = caplog.records
    assert record.message.startswith(
        "mesh of 256 devices: data=8 x fsdp=8 x tensor=4: state and frozen networks of "
    )


def test_micro_batches_and_average_count():
    config = tokenizer_bsq.get_config("tiny")
    config.optim.accumulate = 2
    objective = abstract_objective(config)
    load = workload_of(config, objective)
    params = jax.eval_shape(objective.init, jax.random.key(0))
    frozen = sum(x.nbytes for x in jax.tree.leaves(objective.frozen()))
    assert load.nbytes == 5 * 4 * sum(x.size for x in jax.tree.leaves(params)) + frozen
    assert (load.rows, load.heads) == (config.data.batch_size // 2, 1)


def test_frozen_weights_count():
    config = finetune.get_config("varedit")
    config.optim.accumulate = 1
    load = workload_of(config, abstract_objective(config))
    assert load.nbytes == pytest.approx(2 * (2.2e9 + 1.22e9), rel=0.2)  # and BSQ, and the additions
    assert choose(config, Machine(8, 1, V5E)) == MeshConfig(data=2, fsdp=4, tensor=1)


def test_given_numbers_are_kept_here():
    config = tokenizer_bsq.get_config("tiny")
    assert choose(config) == MeshConfig(data=8, fsdp=1, tensor=1)
    assert this_machine()[:2] == (8, 1)
    config.mesh = MeshConfig(data=3)
    with pytest.raises(ConfigError, match="mesh.data=3.*does not divide the 8 devices"):
        choose(config)
