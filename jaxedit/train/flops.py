"""The arithmetic of a training step, counted in its program, and how fast devices can be.

Counted are the matrix products and convolutions that the mathematics needs: those of the forward
pass, and of the backward pass one for each operand that depends on a trained parameter. Frozen
networks so count once and trained ones three times; what is computed again to save memory does not
count. Of a causal sequence the scores that a mask hides inside a block are counted too.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxedit import rng
from jaxedit.config import MeshConfig, TrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.parallel.mesh import abstract_mesh
from jaxedit.train.step import Objective
from jaxedit.tree import Tree

# device_kind -> 1e12 operations per second of dense bfloat16 products, by the makers' data sheets;
# of one device as jax counts them; the first pattern that is found in it counts
PEAKS = (
    (r"TPU7x|TPU v7", 1153.5),  # half a chip
    (r"TPU v6", 918),
    (r"TPU v5 ?(lite|e)", 197),
    (r"TPU v5", 459),
    (r"TPU v4 lite", 138),
    (r"TPU v4", 275),
    (r"TPU v3", 61.5),  # half a chip
    (r"TPU v2", 22.5),  # half a chip
    (r"B200", 2250),
    (r"H100 PCIe", 756),
    (r"H100 NVL", 835),
    (r"GH200|H[12]00", 989),
    (r"A100|A800", 312),
    (r"L40S", 362),
    (r"L40", 181),
    (r"A6000", 155),
    (r"A10", 125),
    (r"L4", 121),
    (r"4090", 165),
    (r"3090", 71),
)


class Work(NamedTuple):
    """What a step asks of the devices.

    flops: additions and multiplications of a step, of all devices together; devices: how many;
    peak: operations per second of one device, None if it is not known.
    """

    flops: float
    devices: int
    peak: float | None

    def rates(self, steps_per_second: float) -> dict[str, float]:
        """TFLOP/s of each device and, if its peak is known, their share in it (MFU)."""
        rate = self.flops * steps_per_second / self.devices
        found = {"tflops_per_device": rate / 1e12}
        return found | {"mfu": rate / self.peak} if self.peak else found


def work_of_step(config: TrainConfig, objective: Objective, example: EditBatch) -> Work:
    """The work of one step on this run's devices; no mesh may be set.

    Args:
      config: the run.
      objective: what is trained.
      example: any rows, of which the shapes count.
    """
    rows, parts = config.data.batch_size // config.optim.accumulate, config.optim.accumulate

    def shapes(x: Tree | EditBatch, rows: tuple[int, ...] = ()) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(rows + x.shape[len(rows) :], x.dtype), x)

    key = jax.eval_shape(lambda: rng.key_for(config.seed, "loss"))
    arguments = (shapes(objective.frozen()), shapes(example, (rows,)), key, shapes(np.int32(0)))
    # On a mesh without devices no kernel is chosen, in which nothing could be counted.
    with jax.sharding.use_abstract_mesh(abstract_mesh(MeshConfig(data=1), 1)):
        params = jax.eval_shape(objective.init, key)
        flops = parts * training_flops(objective.loss, params, *arguments)
    return Work(flops, jax.device_count(), peak_of(jax.devices()[0].device_kind))


def training_flops(loss: Callable[..., Any], params: Tree, *arguments: Any) -> float:
    """Operations of `loss(params, *arguments)` and of its gradient for `params`.

    Args:
      loss: a function.
      params: pytree of arrays or of their shapes.
      *arguments: pytrees, which no gradient is computed for.
    """
    program = jax.make_jaxpr(loss)(params, *arguments).jaxpr
    trained = len(jax.tree.leaves(params))
    flops, _ = _count(program, [i < trained for i in range(len(program.invars))])
    return flops


def peak_of(kind: str) -> float | None:
    """Operations per second of a kind of device, None if they are not known."""
    return next((1e12 * peak for pattern, peak in PEAKS if re.search(pattern, kind)), None)


def _count(program: core.Jaxpr, trained: list[bool]) -> tuple[float, list[bool]]:
    """Operations of a program, and which results depend on trained parameters.

    Args:
      program: the list of operations.
      trained: which arguments depend on them.
    """
    depends = dict(zip(program.invars, trained, strict=True))
    flops = 0.0

    def depend(values: Sequence[Any]) -> list[bool]:
        return [not isinstance(v, core.Literal) and depends.get(v, False) for v in values]

    for equation in program.eqns:
        found, results = _count_operation(equation, depend(equation.invars))
        flops += found
        for v, result in zip(equation.outvars, results, strict=True):
            depends[v] = result and jnp.issubdtype(v.aval.dtype, jnp.inexact)
    return flops, depend(program.outvars)


def _count_operation(equation: core.JaxprEqn, trained: list[bool]) -> tuple[float, list[bool]]:
    """Operations of one line of a program, and which results depend on trained parameters."""
    name, results = equation.primitive.name, len(equation.outvars)
    called = _called(equation)
    if name == "stop_gradient":
        return 0.0, [False] * results
    if name == "scan":
        return _count_scan(equation, called[0], trained)
    if called and len(called[0].invars) == len(trained):
        return _count(called[0], trained)
    if called:  # branches and loops of unknown length: the dearest, once
        branches = [_count(p, [any(trained)] * len(p.invars))[0] for p in called]
        return max(branches), [any(trained)] * results
    if name in ("dot_general", "conv_general_dilated"):
        return _product(equation) * (1 + sum(trained)), [any(trained)]
    return 0.0, [any(trained)] * results


def _count_scan(
    equation: core.JaxprEqn, body: core.Jaxpr, trained: list[bool]
) -> tuple[float, list[bool]]:
    """`_count` of all iterations: what is carried may come to depend on parameters on the way."""
    first, carried = equation.params["num_consts"], equation.params["num_carry"]
    while True:
        flops, results = _count(body, trained)
        after = trained[:first] + results[:carried] + trained[first + carried :]
        after = [a or b for a, b in zip(trained, after, strict=True)]
        if after == trained:
            return flops * equation.params["length"], results
        trained = after


def _product(equation: core.JaxprEqn) -> float:
    """Operations of a matrix product or of a convolution: two per term of each result."""
    left, right = (v.aval.shape for v in equation.invars)
    results = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2.0 * results * math.prod(left[axis] for axis in contracted)
    features = right[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2.0 * results * math.prod(right) / features


def _called(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """The programs that an operation calls."""
    parameters = jax.tree.leaves(
        list(equation.params.values()),
        is_leaf=lambda p: isinstance(p, core.ClosedJaxpr | core.Jaxpr),
    )
    found = [p for p in parameters if isinstance(p, core.ClosedJaxpr | core.Jaxpr)]
    return [getattr(p, "jaxpr", p) for p in found]
