"""Two tables say how arrays are sharded: parameter path -> axis names, axis name -> mesh axes.

`PARAM_AXES` names the axes of each parameter. Adam's moments and the EMA copy have the same path
endings and are sharded in the same way. `AXIS_RULES` says which mesh axes cut a named axis. Models
know neither table: they call `constrain(x, "batch", "length", "embed")` on activations.
"""

import functools
import logging
import math
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Shaped

from jaxedit.progress import progress_bar
from jaxedit.warn_once import warn_once

AxisNames = tuple[str | None, ...]

AnyMesh = Mesh | AbstractMesh
Slices = tuple[slice, ...]  # a block of an array, a slice per axis
LARGE = 2**30  # bytes of arrays whose way to the devices is worth a progress bar

# axis name -> the mesh axes that cut it together
AXIS_RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "length": (),
    "embed": ("fsdp",),  # width of the residual stream, on parameters
    "heads": ("tensor",),
    "mlp": ("tensor",),
    "vocab": ("tensor",),
    # Rows of tables, of kernels that `tensor` cuts by rows, and of fused projections (qkv). Columns
    # of fused projections are not cut, because different projections would then be on different
    # devices; `nn.layers.dense` moves the cut from their rows to the columns of each projection.
    "rows": ("tensor", "fsdp"),
}
# Activations: `fsdp` already cuts the batch.
ACTIVATION_RULES = AXIS_RULES | {"embed": (), "rows": ("tensor",)}

_REPLICATED: AxisNames = ()
_COPY = re.compile(r"^(?:params|ema_params|opt_state/.*?(?:mu|nu))/")

# end of the path -> names of the *last* axes; stacked layers have a further axis in front
PARAM_AXES: tuple[tuple[str, AxisNames], ...] = (
    (r"(step|count)", _REPLICATED),
    (r"(attn|cross|pool)/(q|k|v)/kernel", ("embed", "heads")),
    (r"(attn|cross|pool)/(qkv|kv)/kernel|mlp/gate_up/kernel", ("rows", None)),
    (r"(attn|cross|pool)/(o|proj)/kernel", ("rows", None)),
    (r"(up|gate|fc1)/kernel", ("embed", "mlp")),
    (r"(down|fc2)/kernel", ("rows", None)),
    (r"(ada|head_ada)/kernel", ("embed", None)),
    (r"head/kernel", ("embed", "vocab")),
    (r"word_embed/kernel", (None, "embed")),
    (r"(uncond|level_embed|class_embed|ada_bias)", (None, "embed")),
    (r"(t5|transformer|clip/text)/embed", ("rows", None)),
    (r"(image|text)_proj/kernel", ("embed", None)),
    (r"align/kernel", (None, None, "embed", None)),
    (r"(vit|clip/image|clip/text)/positions", (None, "embed")),
    (r"(query|position_bias)", _REPLICATED),
    (r"(bias|[qv]_bias|scale|pos_start)", _REPLICATED),
    (r"null/(text|image)", _REPLICATED),
    (r"(vit|clip/image)/(class_token|patch/kernel)|clip/logit_scale", _REPLICATED),
    # convolutional networks are small: a whole copy on each device
    (r"(bsq|vq|usage|discriminator|lpips|inception)/.*", _REPLICATED),
)

log = logging.getLogger(__name__)


def axes_of(path: str) -> AxisNames:
    """Return the axis names of the parameter at `path`, or of its moment or average.

    The integers and scales of an `Int8` have the names of their kernel. Of a kernel's low-rank
    addition, `lora_a` shares the kernel's row axis and `lora_b` its column axis.

    Raises:
      ValueError: no rule of `PARAM_AXES` matches; the message names the path.
    """
    path, _, adapter = path.partition("/lora_")
    if adapter:
        rows, columns = axes_of(path)
        return (rows, None) if adapter == "a" else (None, columns)
    path = re.sub(r"(/kernel)/(values|scale)$", r"\1", path)
    for pattern, axes in PARAM_AXES:
        if re.fullmatch(rf"(?:.*/)?(?:{pattern})", path):
            return axes
    raise ValueError(
        f"no sharding rule for {path!r}: add a rule to PARAM_AXES in jaxedit/sharding/rules.py"
    )


def partition_spec(
    path: str,
    shape: tuple[int, ...],
    axes: AxisNames,
    mesh: AnyMesh,
    rules: dict[str, tuple[str, ...]],
) -> PartitionSpec:
    """Return how an array is cut; an axis that the mesh does not divide stays whole.

    Args:
      path: name of the array in the warning about such an axis; without a name there is no warning.
      axes: names of the last axes; the axes before them stay whole.
    """
    names = (None,) * (len(shape) - len(axes)) + axes
    parts: list[tuple[str, ...] | None] = []
    for size, name in zip(shape, names, strict=True):
        cut = tuple(a for a in rules[name] if mesh.shape[a] > 1) if name else ()
        pieces = math.prod(mesh.shape[a] for a in cut)
        if size % pieces:
            if path and size > 1:  # a batch of one row, as in `init`, is never cut
                warn_once(
                    log,
                    f"{path}: axis {name!r} of size {size} is not divisible by {pieces}, not cut",
                )
            cut = ()
        parts.append(cut or None)
    return PartitionSpec(*parts)


def state_shardings(abstract: Any, mesh: AnyMesh) -> Any:
    """Return the pytree `abstract` (a train state, or a part) with NamedShardings as leaves.

    Args:
      abstract: pytree of arrays or ShapeDtypeStructs.

    Raises:
      ValueError: no rule matches a leaf.
    """

    def sharding_of(keys: tuple[Any, ...], leaf: Any) -> NamedSharding:
        path = _path(keys)
        name = _COPY.sub("", path)  # warn once for a parameter, its moments and its average
        return NamedSharding(
            mesh, partition_spec(name, leaf.shape, axes_of(path), mesh, AXIS_RULES)
        )

    return jax.tree_util.tree_map_with_path(sharding_of, abstract)


def with_shardings(abstract: Any, layout: Any) -> Any:
    """Return ShapeDtypeStructs with the shapes and dtypes of `abstract` and their shardings."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, layout
    )


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
    """Return the sharding that cuts rows over `data` and `fsdp`."""
    return NamedSharding(mesh, PartitionSpec(AXIS_RULES["batch"]))


def replicated(mesh: AnyMesh) -> NamedSharding:
    """Return the sharding that puts a whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def constrain(x: Shaped[Array, "..."], *axes: str | None) -> Shaped[Array, "..."]:
    """Ask the compiler to shard the activation `x` by its axis names; no effect without a mesh.

    Args:
      *axes: for each axis of `x` a name of `AXIS_RULES`, or None.
    """
    return _constrain_by(ACTIVATION_RULES, x, axes, name="activation")


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def gather(param: Shaped[Array, "..."], axes: AxisNames) -> Shaped[Array, "..."]:
    """Gather a parameter over `fsdp`, but keep its gradient sharded as the parameter is.

    `constrain` would give the gradient the gathered sharding as well: each device would add up the
    whole gradient (all-reduce) to keep a piece of it, instead of that piece only (reduce-scatter).

    Args:
      axes: for each axis of `param` a name of `AXIS_RULES`, or None.
    """
    return _constrain_by(ACTIVATION_RULES, param, axes)


def _constrain_by(
    rules: dict[str, tuple[str, ...]], x: jax.Array, axes: AxisNames, *, name: str = ""
) -> jax.Array:
    """Shard `x` by one of the tables on the mesh that is set; no effect without a mesh.

    The sharding names the mesh: jax 0.7 resolves a bare PartitionSpec only on meshes with devices.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    layout = NamedSharding(mesh, partition_spec(name, x.shape, axes, mesh, rules))
    return jax.lax.with_sharding_constraint(x, layout)


gather.defvjp(
    lambda param, axes: (gather(param, axes), None),
    lambda axes, _, gradient: (_constrain_by(AXIS_RULES, gradient, axes),),
)


def activation_spec(shape: tuple[int, ...], axes: AxisNames) -> PartitionSpec:
    """Return how an activation with these axis names is cut on the mesh that is set."""
    return partition_spec(
        "activation", shape, axes, jax.sharding.get_abstract_mesh(), ACTIVATION_RULES
    )


def param_spec(shape: tuple[int, ...], axes: AxisNames) -> PartitionSpec:
    """Return how a parameter with these axis names is cut on the mesh that is set."""
    return partition_spec("", shape, axes, jax.sharding.get_abstract_mesh(), AXIS_RULES)


def local_rows(mesh: AnyMesh, size: int) -> range:
    """Return the rows of a batch of `size` rows that this process's devices hold.

    Processes that differ only along the `tensor` axis hold the same rows.
    """
    parts = batch_sharding(mesh).addressable_devices_indices_map((size,)).values()
    (block,) = bounding_block(parts, (size,))
    return range(block.start, block.stop)


def to_global(batch: Any, mesh: Mesh, size: int | None = None) -> Any:
    """Combine each process's rows of a batch to global arrays, sharded by `batch_sharding`.

    Args:
      batch: pytree of numpy arrays [rows, ...] with the rows `local_rows(mesh, size)`.
      size: rows B of all processes together; default: the rows of `batch`.

    Returns:
      The pytree of arrays [B, ...].
    """
    sharding = batch_sharding(mesh)

    def combine(x: np.ndarray) -> jax.Array:
        shape = (size or len(x), *x.shape[1:])
        begin = local_rows(mesh, shape[0]).start

        def part(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(shape[0])
            return x[start - begin : stop - begin]

        return jax.make_array_from_callback(shape, sharding, part)

    return jax.tree.map(combine, batch)


def place(
    values: Any,
    where: Mesh | Sharding | None,
    finish: Callable[[str, jax.Array], Any] | None = None,
) -> Any:
    """Put arrays, equal on every process, on their devices, one after another.

    The first process shows the progress of large arrays, which may still have to be read.

    Args:
      values: pytree of arrays as `put` takes them.
      where: a mesh, over which `PARAM_AXES` shards them; or the sharding of every array; or None
        for the default device.
      finish: called with the path of each array and the array, before the next is put; its result
        replaces the array.

    Returns:
      The pytree of jax arrays, or of the results of `finish`.
    """

    def put_leaf(keys: tuple[Any, ...], x: Any, layout: Sharding | None = where) -> Any:
        array = put(x, layout)
        bar.update(_nbytes(x))
        return finish(_path(keys), array) if finish else array

    layouts = (state_shardings(values, where),) if isinstance(where, Mesh) else ()
    total = sum(map(_nbytes, jax.tree.leaves(values)))
    is_silent = total < LARGE or jax.process_index() > 0
    with progress_bar("loading weights", total, unit="B", disable=is_silent) as bar:
        return jax.tree_util.tree_map_with_path(put_leaf, values, *layouts)


def _nbytes(x: Any) -> int:
    return math.prod(x.shape) * x.dtype.itemsize


def put(x: Any, layout: Sharding | None) -> Shaped[Array, "..."]:
    """Put an array on its devices, and wait, so that the host's copy may be freed.

    Args:
      x: array, or an object with `shape` and `dtype` that returns numpy arrays for `x[slices]`;
        of such an object only this process's slices are read.
      layout: its sharding; None: on the default device.
    """
    if layout is None or isinstance(x, jax.Array):
        x = x if isinstance(x, jax.Array) else np.asarray(x)
        return jax.block_until_ready(jax.device_put(x, layout))
    part = read_slices(x, layout.addressable_devices_indices_map(x.shape).values())
    array = jax.make_array_from_callback(x.shape, layout, part)
    return jax.block_until_ready(array)


def read_slices(x: Any, parts: Collection[Slices]) -> Callable[[Slices], np.ndarray]:
    """Read blocks of an array, each once, and return a function from a block to its numbers.

    Blocks that together fill a larger block without gaps are read as that larger block.
    """
    ours = {_bounds(part, x.shape) for part in parts}
    around = _bounds(bounding_block(parts, x.shape), x.shape)
    is_filled = _volume(around) == sum(map(_volume, ours))
    blocks = [around] if is_filled else ours
    read = {block: x[tuple(slice(*ends) for ends in block)] for block in blocks}

    def part(index: tuple[slice, ...]) -> np.ndarray:
        place = _bounds(index, x.shape)
        if not is_filled:
            return read[place]
        starts = [start for start, _ in around]
        inside = (slice(a - s, b - s) for (a, b), s in zip(place, starts, strict=True))
        return read[around][tuple(inside)]

    return part


def bounding_block(parts: Iterable[Slices], shape: tuple[int, ...]) -> Slices:
    """Return the smallest block, of an array with this shape, that contains all `parts`."""
    bounds = [_bounds(part, shape) for part in parts]
    axes = zip(*bounds, strict=True)
    return tuple(slice(min(a for a, _ in axis), max(b for _, b in axis)) for axis in axes)


def _bounds(part: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(s.indices(n)[:2] for s, n in zip(part, shape, strict=True))


def _volume(block: tuple[tuple[int, int], ...]) -> int:
    return math.prod(stop - start for start, stop in block)


def to_host(x: Shaped[Array, "*n"]) -> Shaped[np.ndarray, "*n"]:
    """Return the whole array on every process; all processes must call it."""
    if not x.is_fully_addressable:
        x = jax.jit(lambda x: x, out_shardings=replicated(x.sharding.mesh))(x)
    return np.asarray(x)


def _path(keys: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")
