"""Loss and gradients on every mesh are those of one device, and little is sent on the way."""

import copy
import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxedit import rng
from jaxedit.config import (
    EDITAR_PRESETS,
    PRESETS,
    LoRAConfig,
    MeshConfig,
    T5Config,
    TrainConfig,
)
from jaxedit.data.batch import EditBatch
from jaxedit.models.t5 import T5Encoder
from jaxedit.models.vit import ViT, small_teacher
from jaxedit.ops.quantize import ScaleLabels
from jaxedit.planning.collectives import traffic
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import AXES, make_mesh
from jaxedit.train.objectives.registry import abstract_objective

ROWS, SIDE, TOKENS = 8, 64, 6
SIZES = {"width": 64, "heads": 8, "mlp_hidden": 128}
DEPTH = 9
# of one layer: the modulation and EditAR's gate and up, which are the largest kernels here
LARGEST_KERNEL = 64 * 6 * 64
# these programs run once
UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
T5 = T5Config(
    vocab_size=64, width=32, head_width=4, mlp_hidden=64, layers=1, heads=8, position_buckets=8
)


def varedit():
    """Rows of 133 tokens: 64 of the source, 69 of the target."""
    config = TrainConfig(model=copy.deepcopy(PRESETS["tiny"]))
    model = config.model
    model.t5 = T5
    model.bsq = dataclasses.replace(model.bsq, bits=4, channel_mult=(1, 1, 1, 1))
    model.varedit = dataclasses.replace(
        model.varedit,
        **{"depth": DEPTH, "bits": 4, "text_width": 32, "text_pool_heads": 8, "drop_path": 0.1},
        **SIZES,
        scales=((1, 1), (2, 2), (8, 8)),
    )
    return config


def editar():
    """Rows of 133 tokens: 64 of the source, 6 of the text, 63 of the target."""
    config = TrainConfig(model=copy.deepcopy(EDITAR_PRESETS["tiny"]))
    model = config.model
    model.t5 = T5
    model.vq = dataclasses.replace(model.vq, codes=64, channel_mult=(1, 1, 1, 1), latent_width=24)
    model.editar = dataclasses.replace(
        model.editar,
        **{"layers": DEPTH, "codes": 64, "text_width": 32, "text_tokens": TOKENS},
        **{"distill_width": 0, "dropout": 0.1},
        **SIZES,
    )
    config.editar.distill_weight = 0.0
    return config


def bsq():
    config = varedit()
    config.model.model_type = "bsq"
    config.bsq.scales = config.model.varedit.scales
    return config


def vq():
    config = editar()
    config.model.model_type = "vq"
    return config


def with_lora(config):
    """Only additions to the blocks' kernels are trained."""
    config.lora, config.init_from = LoRAConfig(rank=8), "not read"
    return config


def varedit_lora():
    return with_lora(varedit())


@functools.cache
def case(maker):
    """The function to differentiate, and random arguments of it.

    The transformers get labels in place of pictures; the image tokenizers have their own test.
    """
    config = maker()
    config.dtype, config.data.batch_size = "float32", ROWS
    config.data.image_size, config.data.text_tokens = SIDE, TOKENS
    objective = abstract_objective(config)
    random = np.random.default_rng(0)

    def draw(x):
        return 0.1 * random.standard_normal(x.shape, np.float32)

    shapes, frozen = jax.eval_shape(objective.init, rng.key_for(0, "init")), objective.frozen()
    pair = random.integers(0, 256, (2, ROWS, SIDE, SIDE, 3), np.uint8)
    if config.model.model_type == "varedit":
        bits = random.integers(0, 2, (ROWS, 69, 4), np.int32).astype(bool)
        source, inputs = (random.standard_normal((ROWS, n, 4), np.float32) for n in (64, 68))
        pair, frozen["bsq"] = (source, ScaleLabels(bits, inputs)), {}
        getattr(objective, "inner", objective).tokens = lambda _, batch, key, **kwargs: (
            batch.source,
            batch.target,
        )
    if config.model.model_type == "editar":
        pair, frozen["vq"] = random.integers(0, 64, (2, ROWS, 64), np.int32), {}
        getattr(objective, "inner", objective).codes = lambda _, batch: (batch.source, batch.target)
    params, frozen = jax.tree.map(draw, (shapes, frozen))
    ids = random.integers(0, 64, (ROWS, TOKENS), np.int32)
    mask = np.arange(TOKENS)[None] < 3 + np.arange(ROWS)[:, None]

    def loss(params, frozen, batch):
        return objective.loss(params, frozen, batch, rng.key_for(0, "loss"), jnp.int32(0))[0]

    return jax.value_and_grad(loss), params, frozen, EditBatch(*pair, ids, mask, None)


@functools.cache
def alone(maker):
    """Loss and gradients on one device."""
    function, *arguments = case(maker)
    return jax.jit(function).lower(*arguments).compile(UNOPTIMISED)(*arguments)


def on_mesh(maker, axes):
    """Loss and gradients on a mesh, and the program."""
    function, *arguments = case(maker)
    mesh = make_mesh(MeshConfig(**dict(zip(AXES, axes, strict=True))))
    states = [rules.state_shardings(x, mesh) for x in arguments[:2]]
    layouts = (*states, rules.batch_sharding(mesh))
    out = (rules.replicated(mesh), layouts[0])
    with jax.set_mesh(mesh):
        program = jax.jit(function, in_shardings=layouts, out_shardings=out)
        compiled = program.lower(*arguments).compile(UNOPTIMISED)
        return compiled(*jax.device_put(tuple(arguments), layouts)), compiled.as_text()


MESHES = [(8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2), (1, 2, 4), (2, 4, 1)]
# VQ trains on a mesh in the tests of its objective, and BSQ is validated on one.
EVERY_TIME = [(varedit, (1, 2, 4)), (editar, (2, 2, 2))]
CASES = [(maker, axes) for maker in (varedit, editar, bsq, vq) for axes in MESHES]
CASES += [(varedit_lora, shape) for shape in ((1, 8, 1), (2, 2, 2))]


@pytest.mark.parametrize(
    ("maker", "axes"),
    [pytest.param(*c, marks=() if c in EVERY_TIME else pytest.mark.slow) for c in CASES],
)
def test_a_mesh_computes_what_one_device_computes(maker, axes):
    (loss, grads), program = on_mesh(maker, axes)
    expected, expected_grads = alone(maker)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    norm = optax.tree.norm(expected_grads)
    difference = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), grads, expected_grads)
    assert norm > 0 and optax.tree.norm(difference) < 1e-5 * norm
    if maker not in (bsq, vq):
        check_traffic(program)


@pytest.mark.parametrize("axes", [pytest.param((1, 8, 1), marks=pytest.mark.slow), (2, 4, 1)])
@pytest.mark.parametrize("name", ["t5", "vit"])
def test_frozen_networks_send_their_weights_and_no_rows(name, axes):
    if name == "t5":
        ids = jax.ShapeDtypeStruct((8, 64), jnp.int32)
        model, inputs = T5Encoder(T5), (ids, jax.ShapeDtypeStruct((8, 64), bool))
    else:
        model = ViT(small_teacher(32, 6))
        inputs = (jax.ShapeDtypeStruct((8, 42, 42, 3), jnp.float32),)
    params = jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]
    mesh = make_mesh(MeshConfig(**dict(zip(AXES, axes, strict=True))))
    tree = {name: params}
    layouts = (rules.state_shardings(tree, mesh), *[rules.batch_sharding(mesh)] * len(inputs))
    with jax.set_mesh(mesh):
        forward = jax.jit(
            lambda tree, *inputs: model.apply({"params": tree[name]}, *inputs),
            in_shardings=layouts,
        )
        program = forward.lower(tree, *inputs).compile(UNOPTIMISED)
    sent = sum(row.nbytes for row in traffic(program.as_text(), mesh))
    assert 0 < sent <= sum(math.prod(x.shape) * 4 for x in jax.tree.leaves(params))


def check_traffic(program):
    """Kernels are gathered layer by layer; activations of the layers never."""
    gathers = re.findall(r"= (.*) (?:all-gather|collective-permute)(?:-start)?\(", program)
    shapes = [dims for gather in gathers for dims in re.findall(r"f32\[([\d,]+)\]", gather)]
    sizes = {dims: math.prod(map(int, dims.split(","))) for dims in shapes}
    assert all(size <= LARGEST_KERNEL for size in sizes.values()), sizes
