import copy
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax.sharding import PartitionSpec as P

from jaxedit import rng, tree
from jaxedit.checkpoints.pretrained import load_pretrained, read_config
from jaxedit.config import (
    ConfigError,
    DataConfig,
    EditARTrainConfig,
    LoRAConfig,
    MeshConfig,
    TrainConfig,
    VAREditTrainConfig,
)
from jaxedit.configs import finetune
from jaxedit.data.batch import EditBatch, Examples
from jaxedit.ops import low_rank
from jaxedit.planning.device_memory import GB, total
from jaxedit.sampling.decode_weights import unstack
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import abstract_mesh
from jaxedit.train import loop, step_memory
from jaxedit.train.objectives import lora, registry
from jaxedit.train.objectives.registry import TrainingData, abstract_objective

KEY = rng.key_for(0, "loss")
KERNELS = ("attn/proj", "attn/qkv", "mlp/down")  # of both systems


@pytest.fixture(scope="module", params=["varedit", "editar"])
def case(request, tiny_model, tiny_editar):
    return Case({"varedit": tiny_model, "editar": tiny_editar}[request.param])


class Case:
    """A small model with additions, and the same without."""

    def __init__(self, directory):
        self.config = make_config(directory)
        self.objective = registry.make_objective(self.config)
        self.whole = registry.make_objective(changed(self.config, lora=LoRAConfig()))
        self.base = load_pretrained(directory, ["transformer", "t5"])[1]
        self.frozen = rules.place(self.objective.frozen(), None)
        self.batch = make_batch(self.config)
        self.gradients = jax.jit(jax.value_and_grad(self.objective.loss, has_aux=True))
        self.loss_of_whole = jax.jit(self.whole.loss)

    def params(self):
        """Additions of which B is not zero either."""
        random, shapes = np.random.default_rng(1), jax.eval_shape(self.objective.init, KEY)
        return jax.tree.map(lambda x: 0.1 * random.standard_normal(x.shape, np.float32), shapes)


def make_config(directory, **settings):
    model = read_config(epath.Path(directory))
    is_varedit = model.model_type == "varedit"
    config = TrainConfig(
        model=model,
        varedit=VAREditTrainConfig(tokenizer=""),
        editar=EditARTrainConfig(tokenizer="", distill_weight=0.0),
        data=DataConfig(
            image_size=32 if is_varedit else 16,
            batch_size=2,
            text_tokens=6 if is_varedit else model.editar.text_tokens,
            text_tokenizer="",
        ),
        lora=LoRAConfig(rank=3, alpha=6.0),
        init_from=str(directory),
        dtype="float32",
    )
    config = changed(config, **settings)
    config.validate()
    return config


def changed(config, **settings):
    config = copy.deepcopy(config)
    for name, value in settings.items():
        setattr(config, name, value)
    return config


def make_batch(config, seed=0):
    random, size = np.random.default_rng(seed), config.data.image_size
    rows = config.data.batch_size
    source, target = random.integers(0, 256, (2, rows, size, size, 3), np.uint8)
    ids = random.integers(1, 99, (rows, config.data.text_tokens)).astype(np.int32)
    return EditBatch(source, target, ids, ids > 20, None)


def test_it_starts_with_the_weights_exactly(case):
    params = case.objective.init(KEY)
    (found, _), grads = case.gradients(params, case.frozen, case.batch, KEY, 0)
    wanted, _ = case.loss_of_whole(case.base, case.frozen, case.batch, KEY, 0)
    assert found == wanted
    assert {path.rsplit("/", 1)[1] for path in tree.flatten(grads)} == {"lora_a", "lora_b"}
    for path, grad in tree.flatten(grads).items():  # A waits for B to leave zero
        assert bool(jnp.any(grad)) == path.endswith("lora_b"), path


def test_exported_weights_are_the_sums(case, tmp_path):
    params = case.params()
    case.objective.export(params, str(tmp_path / "export"))
    config, merged, _ = load_pretrained(tmp_path / "export", ["transformer", "t5"])
    assert config == case.config.model
    found, _ = case.gradients(params, case.frozen, case.batch, KEY, 0)
    wanted, _ = case.loss_of_whole(merged, case.frozen, case.batch, KEY, 0)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5)
    adapters = tree.flatten(params)
    for path, before in tree.flatten(case.base).items():
        after = tree.flatten(merged)[path]
        if f"{path}/lora_a" not in adapters:
            np.testing.assert_array_equal(after, before)
            continue
        a, b = (adapters[f"{path}/lora_{x}"] for x in "ab")
        np.testing.assert_allclose(after, before + 2 * a @ b, atol=1e-5)  # alpha / rank = 2


def test_no_gradient_is_as_large_as_a_kernel(case):
    """With 5 rows no activation has the shape of a kernel."""
    batch = jax.tree.map(lambda x: np.repeat(x[:1], 5, axis=0), case.batch)
    kernels = {shape[-2:] for shape in case.objective.kernels.values()}
    kernels |= {shape[::-1] for shape in kernels}

    def large_products(loss, params):
        arguments = (params, case.frozen, batch, KEY, 0)
        program = str(jax.make_jaxpr(jax.grad(loss, has_aux=True))(*arguments))
        shapes = re.findall(r":\w+\[([\d,]+)\] = dot_general", program)
        return {tuple(map(int, shape.split(","))) for shape in shapes} & kernels

    assert not large_products(case.objective.loss, case.params())
    assert large_products(case.whole.loss, case.base)


@pytest.mark.parametrize("case", ["editar"], indirect=True)  # VAREdit samples by training's layers
def test_sampling_reads_sums(case):
    params = case.params()
    joined = case.objective.joined(params, case.frozen)["transformer"]
    flat = tree.flatten(joined)
    plain = tree.unflatten({path: low_rank.to_dense(x) for path, x in flat.items()})
    settings = case.config.model.editar
    null = case.frozen["null"]
    found, wanted = (unstack(settings, x, null, jnp.float32) for x in (joined, plain))
    assert not np.array_equal(
        found.layers[1]["attn"]["qkv"]["kernel"],
        case.base["transformer"]["blocks"]["attn"]["qkv"]["kernel"][1],
    )
    jax.tree.map(np.testing.assert_allclose, found, wanted)


@pytest.mark.slow
def test_a_resumed_run_equals_one_that_never_stopped(tiny_model, tmp_path):
    config = make_config(
        tiny_model,
        **{"steps": 4, "log_every": 2, "sample_every": 0, "checkpoint_every": 2},
        ema_decay=0.9,
        mesh=MeshConfig(data=2, fsdp=2, tensor=2),
    )
    config.data.batch_size = 4
    objective = registry.make_objective(config)

    def batches_from(step, rows):
        for seed in range(step, 9):
            yield jax.tree.map(lambda x: x[rows.start : rows.stop], make_batch(config, seed))

    def run(steps, name):
        workdir = epath.Path(tmp_path / name)
        workdir.mkdir(exist_ok=True)
        examples = Examples(make_batch(config), ["edit"] * config.data.batch_size)
        data = TrainingData(batches_from, examples)
        return loop.train(changed(config, steps=steps), workdir, objective, data)

    whole = run(4, "whole")
    run(2, "parts")
    resumed = run(4, "parts")
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    assert all(
        path.split("/")[-1] in ("lora_a", "lora_b") for path in tree.flatten(whole.ema_params)
    )


def test_shardings_of_additions_follow_their_kernels():
    objective = abstract_objective(finetune.get_config("varedit"))
    params = jax.eval_shape(objective.init, KEY)
    layout = rules.state_shardings(params, abstract_mesh(MeshConfig(data=1, fsdp=2, tensor=2), 4))
    flat = {path: found.spec for path, found in tree.flatten(layout).items()}
    blocks = "transformer/blocks"
    assert flat[f"{blocks}/mlp/up/kernel/lora_a"] == P(None, ("fsdp",), None)
    assert flat[f"{blocks}/mlp/up/kernel/lora_b"] == P(None, None, ("tensor",))
    assert flat[f"{blocks}/attn/qkv/kernel/lora_a"] == P(None, ("tensor", "fsdp"), None)
    assert flat["transformer/first_block/attn/qkv/kernel/lora_b"] == P(None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "trained", "most"),
    [("varedit", 24_117_248, 11), ("varedit-256", 24_117_248, 11), ("editar", 12_091_392, 9)],
)
def test_one_chip_of_16_gb_is_enough(preset, trained, most):
    """The estimate of `--dry_run`, with room for what a compiler adds to it."""
    config = finetune.get_config(preset)
    objective = abstract_objective(config)
    assert tree.count(jax.eval_shape(objective.init, KEY)) == trained
    kernel = objective.frozen()["transformer"]["blocks"]["attn"]["qkv"]["kernel"]
    assert kernel.dtype == jnp.bfloat16
    assert total(step_memory.memory_items(config, 1)) < most * GB


def test_targets_are_found_by_path():
    kernel = jax.ShapeDtypeStruct((3, 8, 6), jnp.float32)
    flat = {f"transformer/blocks/{name}/kernel": kernel for name in KERNELS}
    base = tree.unflatten(flat | {"transformer/head/kernel": kernel})
    found = lora.targets(base, LoRAConfig(rank=2, targets="attn|head"))
    assert found == {
        f"transformer/blocks/attn/{name}/kernel": (3, 8, 6) for name in ("proj", "qkv")
    }
    with pytest.raises(ConfigError, match="lora.rank=6: expected less than 6, transformer/blocks"):
        lora.targets(base, LoRAConfig(rank=6))
    with pytest.raises(
        ConfigError,
        match="lora.targets='atn': found in none of transformer/blocks/attn/proj/kernel, ",
    ):
        lora.targets(base, LoRAConfig(rank=2, targets="atn"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": -1}, "lora.rank=-1: expected a whole number of 0 or more"),
        ({"rank": 2, "alpha": 0.0}, "lora.alpha=0.0: expected a positive number"),
        ({"rank": 2, "targets": "("}, r"lora.targets='\(': not a regular expression"),
    ],
)
def test_bad_settings(tiny_model, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_config(tiny_model, lora=LoRAConfig(**settings))


def test_weights_that_do_not_fit(tiny_model, tiny_editar):
    with pytest.raises(ConfigError, match="init_from='': expected the weights that lora.rank=3"):
        make_config(tiny_model, init_from="")
    inner = registry.make_objective(make_config(tiny_model, lora=LoRAConfig()))
    config = make_config(tiny_model)
    with pytest.raises(ConfigError, match="a editar, not varedit"):
        lora.load_base(inner, changed(config, init_from=str(tiny_editar)))
    config.model.varedit.drop_path = 0.5  # a run's own business
    lora.load_base(inner, config)
    config.model.varedit.rope_mode = "release"
    with pytest.raises(ConfigError, match="rope_mode is grid there, release here"):
        lora.load_base(inner, config)
    with pytest.raises(FileNotFoundError):
        lora.load_base(inner, changed(config, init_from="nowhere"))
