import functools
import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxedit import progress
from jaxedit.checkpoints.networks import abstract_params
from jaxedit.config import (
    EDITAR_PRESETS,
    LLAMAGEN_SIZES,
    PRESETS,
    CLIPConfig,
    MeshConfig,
    PretrainedConfig,
    ViTConfig,
    llamagen,
)
from jaxedit.models import editar
from jaxedit.models.discriminator import Discriminator
from jaxedit.nn.layers import dense
from jaxedit.planning.device_memory import bytes_per_device
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import AXES, abstract_mesh, make_mesh

NETWORKS = {
    **{size: lambda size=size: abstract_params(PRESETS[size]) for size in PRESETS},
    **{f"editar-{s}": lambda s=s: abstract_params(EDITAR_PRESETS[s]) for s in EDITAR_PRESETS},
    **{
        f"llamagen-{size}": lambda size=size: transformer(llamagen(size)) for size in LLAMAGEN_SIZES
    },
    "llamagen-class": lambda: transformer(llamagen("b", prefix="class")),
    "vit": lambda: abstract_params(PretrainedConfig(model_type="vit", vit=ViTConfig())),
    "clip": lambda: abstract_params(PretrainedConfig(model_type="clip", clip=CLIPConfig())),
    "discriminator": lambda: {"discriminator": made(Discriminator(64), 64)},
}
# convolutions are whole on each device: they are small
CONVOLUTIONS = ("bsq", "vq", "discriminator")


def transformer(config):
    init = functools.partial(editar.init_params, config)
    return {"transformer": jax.eval_shape(init, jax.random.key(0))}


def made(module, side):
    init = functools.partial(module.init, jax.random.key(0))
    return jax.eval_shape(init, leaf(1, side, side, 3))["params"]


@pytest.fixture
def mesh():
    return make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


def leaf(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def spec_of(tree, mesh):
    return jax.tree.map(lambda s: s.spec, rules.state_shardings(tree, mesh))


def test_layout_by_hand(mesh):
    block = {"attn": {"qkv": {"kernel": leaf(8, 24)}, "proj": {"kernel": leaf(8, 8)}}}
    stacked = {"attn": {"qkv": {"kernel": leaf(3, 8, 24)}}, "ada_bias": leaf(3, 6, 8)}
    specs = spec_of({"first_block": block, "blocks": stacked}, mesh)
    assert specs["first_block"]["attn"]["qkv"]["kernel"] == P(("tensor", "fsdp"), None)
    assert specs["first_block"]["attn"]["proj"]["kernel"] == P(("tensor", "fsdp"), None)
    assert specs["blocks"]["attn"]["qkv"]["kernel"] == P(None, ("tensor", "fsdp"), None)
    assert specs["blocks"]["ada_bias"] == P(None, None, "fsdp")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_rules_that_cut_it_evenly(name):
    params = NETWORKS[name]()
    cut = {network: x for network, x in params.items() if network not in CONVOLUTIONS}
    whole = bytes_per_device(params, None) - bytes_per_device(cut, None)
    assert whole < 0.5e9
    if name != "tiny":
        mesh = abstract_mesh(MeshConfig(data=1, fsdp=8), 8)
        assert bytes_per_device(params, mesh) <= whole + 1.1 * bytes_per_device(cut, None) / 8
    for axes in ((1, 1, 8), (1, 2, 4), (2, 2, 2)):
        rules.state_shardings(
            params, abstract_mesh(MeshConfig(**dict(zip(AXES, axes, strict=True))), 8)
        )


def test_unmatched_path_is_named(mesh):
    with pytest.raises(ValueError, match="no sharding rule for 'params/odd/thing'"):
        rules.state_shardings({"params": {"odd": {"thing": leaf(2)}}}, mesh)


def test_axis_that_does_not_divide_stays_whole_with_one_warning(mesh, caplog):
    params = {"narrow": {"mlp": {"up": {"kernel": leaf(7, 8)}}}}
    moments = {"0": {"count": leaf(), "mu": params, "nu": params}}
    state = {"params": params, "opt_state": moments, "ema_params": params}
    with caplog.at_level(logging.WARNING):
        specs = spec_of(state, mesh)
        spec_of(state, mesh)
    for copy in (specs["params"], specs["opt_state"]["0"]["nu"], specs["ema_params"]):
        assert copy["narrow"]["mlp"]["up"]["kernel"] == P(None, "tensor")
    assert [r.message for r in caplog.records] == [
        "narrow/mlp/up/kernel: axis 'embed' of size 7 is not divisible by 2, not cut"
    ]


def test_maps_side_by_side_are_cut_one_by_one(mesh):
    x, kernel = jnp.ones((4, 3, 8)), jnp.arange(8.0 * 24).reshape(8, 24)

    class Maps(nn.Module):
        @nn.compact
        def __call__(self, x):
            return dense(24, 1.0, jnp.float32, name="mlp/gate_up", use_bias=False, parts=3)(x)

    expected = (x @ kernel).reshape(4, 3, 3, 8)
    with jax.set_mesh(mesh):
        y = jax.jit(Maps().apply)({"params": {"mlp/gate_up": {"kernel": kernel}}}, x)
    np.testing.assert_array_equal(y, expected)
    assert y.sharding.spec == P(None, None, None, "tensor")


def test_constrain(mesh):
    x = jnp.zeros((4, 3, 8))
    assert rules.constrain(x, "batch", "length", "embed") is x  # no mesh, no effect
    with jax.set_mesh(mesh):
        y = jax.jit(lambda x: rules.constrain(x, "batch", "length", "mlp"))(x)
    assert y.sharding.spec == P(("data", "fsdp"), None, "tensor")


def test_global_batch_and_back(mesh):
    batch = {"x": np.arange(8.0).reshape(4, 2), "mask": None}
    spread = rules.to_global(batch, mesh)
    assert spread["mask"] is None and len(spread["x"].sharding.device_set) == 8
    np.testing.assert_array_equal(rules.to_host(spread["x"]), batch["x"])


def test_place(mesh):
    values = {"bsq": {"conv": np.ones(3)}, "mlp": {"up": {"kernel": np.ones((4, 4))}}}
    placed = rules.place(values, mesh)
    assert placed["mlp"]["up"]["kernel"].sharding.spec == P("fsdp", "tensor")
    assert placed["bsq"]["conv"].sharding.is_fully_replicated


def test_large_arrays_show_their_progress(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0)
    values = {"a": np.ones(3, np.float32), "b": np.ones((2, 4), np.int8)}
    rules.place(values, None)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(rules, "LARGE", 20)
    rules.place(values, None)
    assert "loading weights: 20.0 of 20.0 after 00:00" in capsys.readouterr().err


def test_hull_by_hand():
    parts = [(slice(4, 6), slice(None)), (slice(0, 2), slice(1, None))]
    assert rules.bounding_block(parts, (8, 3)) == (slice(0, 6), slice(0, 3))
    assert rules.bounding_block([()], ()) == ()
