"""Fine-tuning by low-rank additions (LoRA): a released model's weights stay frozen.

Next to a kernel W [in,out] there are A [in,r] and B [r,out]; the layer computes x W + s (x A) B.
Only A and B are in the train state, its gradients, moments, average and checkpoints; W is a frozen
argument of the step. The exported weights are W + s A B, of the usual shapes.

Source: LoRA (Hu et al. 2022).
"""

import logging
import math
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, UInt8

from jaxedit import tree
from jaxedit.checkpoints.lazy_tensor import Box, LazyTensor
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import LoRAConfig, TrainConfig, require
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.batch import EditBatch
from jaxedit.ops import low_rank
from jaxedit.ops.low_rank import LowRank
from jaxedit.planning.flops import Forward
from jaxedit.train.objectives.frozen_networks import BLOCK_KERNEL, cast_block_kernels, require_same
from jaxedit.train.objectives.objective import (
    FROZEN,
    THROUGH,
    FrozenTokenizer,
    Metrics,
    Objective,
    Pass,
)

# Settings in which a run may differ from its weights: they change neither shapes nor meaning.
OWN = ("scales", "drop_path", "dropout", "token_dropout")

log = logging.getLogger(__name__)


class LoRAObjective(Objective):
    """Trains low-rank additions to the networks that another objective would train whole."""

    def __init__(self, inner: Objective, config: TrainConfig, base: tree.Tree) -> None:
        """Choose the kernels.

        Args:
          inner: VAREdit or EditAR.
          config: the run.
          base: the networks that `inner` trains, as `load_base` reads them.

        Raises:
          ConfigError: `lora.targets` matches no kernel, or `lora.rank` is too large for a kernel.
        """
        self.inner, self.base, self.config = inner, base, config
        self.columns = inner.columns
        self.scale = config.lora.alpha / config.lora.rank
        self.kernels = targets(base, config.lora)

    def init(self, key: Key[Array, ""]) -> tree.Tree:
        """Make {network: {... kernel: {"lora_a", "lora_b"}}}; B = 0, so that nothing changes."""
        rank, flat = self.config.lora.rank, {}
        keys = jax.random.split(key, len(self.kernels))
        for own_key, (path, shape) in zip(keys, self.kernels.items(), strict=True):
            *layers, rows, columns = shape
            normal = jax.random.normal(own_key, (*layers, rows, rank))
            flat[f"{path}/lora_a"] = normal * rows**-0.5
            flat[f"{path}/lora_b"] = jnp.zeros((*layers, rank, columns))
        return tree.unflatten(flat)

    def frozen(self) -> tree.Tree:
        """Return all networks."""
        return self.inner.frozen() | cast_block_kernels(self.base, self.config.dtype)

    def loss(
        self,
        params: tree.Tree,
        frozen: tree.Tree,
        batch: EditBatch,
        key: Key[Array, ""],
        step: Int[ArrayLike, ""],
        *,
        is_training: bool = True,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Return the inner objective's loss, with the additions."""
        joined = self.joined(params, frozen)
        return self.inner.loss(joined, frozen, batch, key, step, is_training=is_training)

    def frozen_tokenizer(self) -> FrozenTokenizer | None:
        """Return the inner objective's tokenizer."""
        return self.inner.frozen_tokenizer()

    def passes(self) -> list[Pass]:
        """Return the inner objective's passes, its trained networks frozen, and the additions."""
        found = []
        for one in self.inner.passes():
            if one.network not in self.base:
                found.append(one)
            elif not (added := self._added(one.network)):
                found.append(one._replace(times=FROZEN))
            else:  # scores mix activations that depend on trained values
                weights, scores = one.forward
                found += [
                    one._replace(forward=Forward(weights), times=THROUGH),
                    one._replace(forward=Forward(added * weights, scores)),
                ]
        return found

    def activations(self, rows: int) -> int:
        """See `Objective`; with remat "cheap" twice as many products are saved."""
        return (2 if self.config.remat == "cheap" else 1) * self.inner.activations(rows)

    def _added(self, network: str) -> float:
        """Return the number of a network's added parameters, relative to its own."""
        sides = [shape for path, shape in self.kernels.items() if path.startswith(f"{network}/")]
        added = sum(math.prod(n) * (rows + columns) for *n, rows, columns in sides)
        own = sum(math.prod(x.shape) for x in jax.tree.leaves(self.base[network]))
        return self.config.lora.rank * added / own

    def edit(
        self, params: tree.Tree, frozen: tree.Tree, batch: EditBatch
    ) -> UInt8[Array, "B H W 3"]:
        """Return the inner objective's edits, with the additions."""
        return self.inner.edit(self.joined(params, frozen), frozen, batch)

    def sample_grid(
        self, params: tree.Tree, frozen: tree.Tree, batch: EditBatch
    ) -> UInt8[np.ndarray, "B columns H W 3"]:
        """Draw the inner objective's grid, with the additions."""
        return self.inner.sample_grid(self.joined(params, frozen), frozen, batch)

    def export(self, params: tree.Tree, directory: str) -> None:
        """Write the sums, computed in f32 from the files of `init_from`."""
        sums = tree.flatten(self.base)
        for path, (a, b) in _pairs(params):
            sums[path] = merged(sums[path], a, b, self.scale)
        self.inner.export(tree.unflatten(sums), directory)

    def joined(self, params: tree.Tree, frozen: tree.Tree) -> tree.Tree:
        """Return the networks as `inner` trains them, with `LowRank` for the chosen kernels."""
        joined = tree.flatten({network: frozen[network] for network in self.base})
        for path, (a, b) in _pairs(params):
            joined[path] = LowRank(joined[path], a, b, self.scale)
        return tree.unflatten(joined)


def merged(
    kernel: Any,
    a: Float[np.ndarray, "*layers in r"],
    b: Float[np.ndarray, "*layers r out"],
    scale: float,
) -> LazyTensor:
    """Return W + scale A B in f32, computed when it is read; `chunks` yields a layer at a time.

    Args:
      kernel: W, an array or a lazy tensor.
      a: A.
      b: B.
      scale: factor of the addition.
    """

    def read(box: Box) -> np.ndarray:
        *layers, rows, columns = box
        addends = a[(*layers, rows)], b[(*layers, slice(None), columns)]
        return low_rank.merge(np.asarray(kernel[box]), *addends, scale)

    rows = 1 if len(kernel.shape) > 2 else kernel.shape[0]
    return LazyTensor(read, tuple(kernel.shape), np.dtype(np.float32), rows=rows)


def targets(base: tree.Tree, config: LoRAConfig) -> dict[str, tuple[int, ...]]:
    """Return path and shape of each kernel that gets an addition.

    Args:
      base: the networks: arrays, lazy tensors or ShapeDtypeStructs.
      config: the rank, and the regular expression that is searched for in the paths.

    Raises:
      ConfigError: no kernel matches, or the rank is not below a kernel's sides.
    """
    kernels = {p: tuple(x.shape) for p, x in tree.flatten(base).items() if BLOCK_KERNEL.match(p)}
    found = {path: kernels[path] for path in sorted(kernels) if re.search(config.targets, path)}
    require(
        bool(found),
        f"lora.targets={config.targets!r}: found in none of {', '.join(sorted(kernels))}",
    )
    for path, shape in found.items():
        least = min(shape[-2:])
        require(config.rank < least, f"lora.rank={config.rank}: expected less than {least}, {path}")
    return found


def load_base(inner: Objective, config: TrainConfig) -> tree.Tree:
    """Open the networks of `init_from` that `inner` would train, f32, still in their files.

    Raises:
      ConfigError: the weights belong to another model.
      OSError: weights are missing.
    """
    kind = config.model.model_type
    found, params, directory = open_params(ensure_converted(config.init_from), trained_by(inner))
    require(
        found.model_type == kind,
        f"init_from={config.init_from!r}: a {found.model_type}, not {kind}",
    )
    for part in (kind, *(network for network in params if network != "transformer")):
        require_same(found, config.model, part, directory, own=OWN)
    return tree.cast(params, "float32")


def trained_by(inner: Objective) -> list[str]:
    """Return the names of the networks that VAREdit or EditAR trains."""
    return [network for network in ("transformer", "t5") if network not in inner.frozen()]


def _pairs(params: tree.Tree) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield each kernel's path with its A and B."""
    flat = tree.flatten(params)
    for path, a in flat.items():
        if path.endswith("/lora_a"):
            kernel = path.removesuffix("/lora_a")
            yield kernel, (a, flat[f"{kernel}/lora_b"])
