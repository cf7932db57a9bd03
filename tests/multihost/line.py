"""A model that trains in milliseconds; run as a file, the training command with it inside.

HOLD=N makes the process stop for ever at the moment when the checkpoint of step N is complete and
only lacks its name.
"""

import dataclasses
import functools
import json
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxedit.data.batch import EditBatch, Examples
from jaxedit.data.toy_benchmark import ToyBenchmark
from jaxedit.data.validation import ValidationRows
from jaxedit.planning.flops import Forward
from jaxedit.train import __main__ as command
from jaxedit.train.losses import mean_of_rows
from jaxedit.train.objectives import registry
from jaxedit.train.objectives.objective import TRAINED, Objective, Pass
from jaxedit.train.objectives.registry import TrainingData

SIZE = 4


class Line(Objective):
    """Fits target = source @ w + b; with noise from the key, so that the order of rows matters."""

    columns = ("source", "target")

    def __init__(self, poison_at=-1):
        self.poison_at = poison_at

    def init(self, key):
        return {"transformer": {"mlp": {"up": {"kernel": jax.random.normal(key, (4, 4))}}}}

    def frozen(self):
        return {"bsq": {"offset": np.ones(4, np.float32)}}

    def loss(self, params, frozen, batch, key, step, *, is_training=True):
        x, y = with_one(batch.source / 255.0), with_one(batch.target / 255.0)
        x = x + 0.01 * jax.random.normal(key, x.shape) * is_training
        out = x @ params["transformer"]["mlp"]["up"]["kernel"]
        out = out + jnp.broadcast_to(frozen["bsq"]["offset"], out.shape)
        loss = mean_of_rows((out - y) ** 2, batch.valid) * jnp.where(
            step == self.poison_at, jnp.nan, 1.0
        )
        return loss, {
            "mae": mean_of_rows(jnp.abs(out - y), batch.valid),
            "data": fingerprint(batch.source),
        }

    def passes(self):
        return [Pass("transformer", Forward(2.0 * 16 * 16 * 4 * 4), TRAINED)]

    def edit(self, params, frozen, batch):
        return darken(params["transformer"]["mlp"]["up"]["kernel"], batch.source)

    def sample_grid(self, params, frozen, batch):
        return np.stack([np.asarray(batch.source), np.asarray(batch.target)], axis=1)

    def export(self, params, directory):
        path = epath.Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        (path / "weights.json").write_text(json.dumps(jax.tree.map(lambda x: x.tolist(), params)))


@jax.jit
def darken(kernel, pixels):
    """The pictures, darker by a share that depends on the weights."""
    return (pixels * jax.nn.sigmoid(kernel.mean())).astype(jnp.uint8)


def with_one(x):
    """[..., 3] -> [..., 4]."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)


def fingerprint(x):
    """A whole number below 2**20 that depends on every value and on their order, as f32."""
    weights = jnp.arange(x.size, dtype=jnp.uint32).reshape(x.shape) * 7919 + 1
    return (jnp.sum(x.astype(jnp.uint32) * weights) % 2**20).astype(jnp.float32)


def batches_from(step, rows=range(8)):
    while True:
        yield jax.tree.map(lambda x: x[rows.start : rows.stop], batch_of(step))
        step += 1


def slowly(step, rows):
    """The same, with time to be killed."""
    for batch in batches_from(step, rows):
        time.sleep(0.03)
        yield batch


def batch_of(step):
    random = np.random.default_rng(step)
    source = random.integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    ids = np.zeros((8, 2), np.int32)
    return EditBatch(source, 255 - source, ids, ids == 0, None)


def examples_of(step):
    return Examples(batch_of(step), ["invert"] * 8)


class HeldOut(ValidationRows):
    """Thirteen rows of a validation."""

    def __init__(self):
        self.name = "held-out rows"

    def __len__(self):
        return 13

    def batches(self, rows):
        for begin in (0, 8):
            batch = dataclasses.replace(batch_of(900 + begin), valid=begin + np.arange(8) < 13)
            yield jax.tree.map(lambda x: x[rows.start : rows.stop], batch)


class HeldOutEdits(HeldOut, ToyBenchmark):
    """The same rows; their edits should be bright."""

    def __init__(self):
        self.name = "brightness"

    def scores(self, edits):
        assert len(edits) == 13
        return {"success": float(np.mean(edits)) / 255}


def data_of(batches_from, **more):
    return TrainingData(batches_from, examples_of(99), **more)


def validated():
    return {"validation": HeldOut(), "benchmark": HeldOutEdits()}


def hold(step):
    """Never give the directory of this step its final name."""
    rename = os.rename

    def held(source, target, **options):
        while os.path.basename(target) == str(step):
            time.sleep(1)
        rename(source, target, **options)

    os.rename = held


if __name__ == "__main__":
    registry.build = lambda config: (Line(), data_of(slowly, **validated()))
    hold(os.environ.get("HOLD"))
    impatient = functools.partial(jax.distributed.initialize, heartbeat_timeout_seconds=10)
    jax.distributed.initialize = impatient
    command.run()
