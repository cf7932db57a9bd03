import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxedit.config import PRESETS, MeshConfig
from jaxedit.convert.pretrained import abstract_params
from jaxedit.parallel import sharding
from jaxedit.parallel.mesh import make_mesh


@pytest.fixture
def mesh():
    return make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


def leaf(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def spec_of(tree, mesh):
    return jax.tree.map(lambda s: s.spec, sharding.state_shardings(tree, mesh))


def test_layout_by_hand(mesh):
    block = {"attn": {"qkv": {"kernel": leaf(8, 24)}, "proj": {"kernel": leaf(8, 8)}}}
    stacked = {"attn": {"qkv": {"kernel": leaf(3, 8, 24)}}, "ada_bias": leaf(3, 6, 8)}
    specs = spec_of({"first_block": block, "blocks": stacked}, mesh)
    assert specs["first_block"]["attn"]["qkv"]["kernel"] == P("fsdp", "tensor")
    assert specs["first_block"]["attn"]["proj"]["kernel"] == P("tensor", "fsdp")
    assert specs["blocks"]["attn"]["qkv"]["kernel"] == P(None, "fsdp", "tensor")
    assert specs["blocks"]["ada_bias"] == P(None, None, "fsdp")


@pytest.mark.parametrize("size", ["2b", "8b"])
def test_every_parameter_has_a_rule_and_the_large_ones_are_cut(mesh, size):
    params = abstract_params(PRESETS[size])
    layout = sharding.state_shardings(params, mesh)
    for network in ("transformer", "t5"):
        for (path, x), s in zip(
            jax.tree_util.tree_leaves_with_path(params[network]),
            jax.tree.leaves(layout[network]),
            strict=True,
        ):
            assert x.size < 1e6 or s.spec != P(), path


def test_unmatched_path_is_named(mesh):
    with pytest.raises(ValueError, match="no sharding rule for 'params/odd/thing'"):
        sharding.state_shardings({"params": {"odd": {"thing": leaf(2)}}}, mesh)


def test_axis_that_does_not_divide_stays_whole_with_one_warning(mesh, caplog):
    tree = {"narrow": {"mlp": {"up": {"kernel": leaf(7, 8)}}}}
    with caplog.at_level(logging.WARNING):
        assert spec_of(tree, mesh)["narrow"]["mlp"]["up"]["kernel"] == P(None, "tensor")
        spec_of(tree, mesh)
    assert [r.message for r in caplog.records] == [
        "narrow/mlp/up/kernel: axis 'embed' of size 7 is not divisible by 2, not cut"
    ]


def test_constrain(mesh):
    x = jnp.zeros((4, 3, 8))
    assert sharding.constrain(x, "batch", "length", "embed") is x  # no mesh, no effect
    with jax.set_mesh(mesh):
        y = jax.jit(lambda x: sharding.constrain(x, "batch", "length", "mlp"))(x)
    assert y.sharding.spec == P(("data", "fsdp"), None, "tensor")


def test_global_batch_and_back(mesh):
    batch = {"x": np.arange(8.0).reshape(4, 2), "mask": None}
    spread = sharding.to_global(batch, mesh)
    assert spread["mask"] is None and len(spread["x"].sharding.device_set) == 8
    np.testing.assert_array_equal(sharding.to_host(spread["x"]), batch["x"])


def test_place(mesh):
    values = {"bsq": {"conv": np.ones(3)}, "mlp": {"up": {"kernel": np.ones((4, 4))}}}
    placed = sharding.place(values, mesh)
    assert placed["mlp"]["up"]["kernel"].sharding.spec == P("fsdp", "tensor")
    assert placed["bsq"]["conv"].sharding.is_fully_replicated


def test_hull_by_hand():
    parts = [(slice(4, 6), slice(None)), (slice(0, 2), slice(1, None))]
    assert sharding.hull(parts, (8, 3)) == (slice(0, 6), slice(0, 3))
    assert sharding.hull([()], ()) == ()
