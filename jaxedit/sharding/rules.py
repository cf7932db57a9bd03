"""How arrays lie on the mesh: path -> axis names, axis name -> mesh axes, and nothing else.

`PARAM_AXES` names the axes of each parameter; Adam's moments and the EMA copy end in the same paths
and lie in the same way. `AXIS_RULES` says which mesh axes cut a named axis. Models know neither:
they call `constrain(x, "batch", "length", "embed")` on activations.
"""

import functools
import logging
import math
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

AxisNames = tuple[str | None, ...]

# axis name -> mesh axes that cut it, together
AXIS_RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "length": (),
    "embed": ("fsdp",),  # width of the residual stream, on parameters
    "heads": ("tensor",),
    "mlp": ("tensor",),
    "vocab": ("tensor",),
    # rows that both cut: of kernels whose rows `tensor` cuts anyway, of tables, and of kernels that
    # hold several maps side by side, of which a piece of all columns would be pieces of different
    # maps; `nn.layers.dense` changes these rows for columns
    "rows": ("tensor", "fsdp"),
}
# the batch already takes `fsdp`
ACTIVATION_RULES = AXIS_RULES | {"embed": (), "rows": ("tensor",)}

_REPLICATED: AxisNames = ()
_COPY = re.compile(r"^(?:params|ema_params|opt_state/.*?(?:mu|nu))/")

# end of the path -> axis names of the *last* axes; stacked layers have one more axis in front
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
    # convolutions and what belongs to them: small, whole on each device
    (r"(bsq|vq|usage|discriminator|lpips)/.*", _REPLICATED),
)

log = logging.getLogger(__name__)


def axes_of(path: str) -> AxisNames:
    """Axis names of the parameter (or moment, or average) at `path`; `Int8` has its kernel's.

    Of a kernel's low-rank addition `lora_a` has its rows' name, and `lora_b` that of its columns.

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
        f"no sharding rule for {path!r}: add one to PARAM_AXES in parallel/sharding.py"
    )


def spec(
    path: str,
    shape: tuple[int, ...],
    axes: AxisNames,
    mesh: Mesh,
    rules: dict[str, tuple[str, ...]],
) -> PartitionSpec:
    """How one array is cut; an axis that the mesh does not divide stays whole, with a warning.

    Args:
      path: name of the array in the warning; without it there is none.
      shape: of the array.
      axes: names of its last axes; the others stay whole.
      mesh: the device mesh.
      rules: axis name to mesh axes.
    """
    names = (None,) * (len(shape) - len(axes)) + axes
    parts: list[tuple[str, ...] | None] = []
    for size, name in zip(shape, names, strict=True):
        cut = tuple(a for a in rules[name] if mesh.shape[a] > 1) if name else ()
        pieces = math.prod(mesh.shape[a] for a in cut)
        if size % pieces:
            if path and size > 1:  # one row, as when parameters are initialised, is never cut
                _warn_once(
                    f"{path}: axis {name!r} of size {size} is not divisible by {pieces}, not cut"
                )
            cut = ()
        parts.append(cut or None)
    return PartitionSpec(*parts)


def state_shardings(abstract: Any, mesh: Mesh) -> Any:
    """A NamedSharding for every leaf of a whole train state (or any part of it).

    Args:
      abstract: pytree of arrays or ShapeDtypeStructs.
      mesh: the device mesh.

    Returns:
      The same pytree of NamedShardings.

    Raises:
      ValueError: a leaf that no rule matches.
    """

    def one(keys: tuple[Any, ...], leaf: Any) -> NamedSharding:
        path = _path(keys)
        name = _COPY.sub("", path)  # one warning for a parameter, its moments and its average
        return NamedSharding(mesh, spec(name, leaf.shape, axes_of(path), mesh, AXIS_RULES))

    return jax.tree_util.tree_map_with_path(one, abstract)


def with_shardings(abstract: Any, layout: Any) -> Any:
    """A pytree of shapes and dtypes with its shardings, as ShapeDtypeStructs."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, layout
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over `data` and `fsdp`."""
    return NamedSharding(mesh, PartitionSpec(AXIS_RULES["batch"]))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Ask the compiler to lay the activation `x` out by its axis names; no mesh, no effect.

    Args:
      x: any array inside a jitted function.
      *axes: one name of `AXIS_RULES` or None per axis of `x`.
    """
    return _constrain_by(ACTIVATION_RULES, x, axes, name="activation")


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def gather(param: jax.Array, axes: AxisNames) -> jax.Array:
    """A parameter as activations lie, whole along `fsdp`; its gradient lies as a parameter does.

    `constrain` would ask the same of the gradient: each device would add up all of it (all-reduce)
    to keep a piece, instead of that piece alone (reduce-scatter).

    Args:
      param: any array inside a jitted function.
      axes: one name of `AXIS_RULES` or None per axis of `param`.
    """
    return _constrain_by(ACTIVATION_RULES, param, axes)


def _constrain_by(
    rules: dict[str, tuple[str, ...]], x: jax.Array, axes: AxisNames, *, name: str = ""
) -> jax.Array:
    """Lay `x` out by one of the tables on the mesh that is set; no mesh, no effect.

    The mesh is named with the spec: jax 0.7 resolves a bare spec on meshes with devices only.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    layout = NamedSharding(mesh, spec(name, x.shape, axes, mesh, rules))
    return jax.lax.with_sharding_constraint(x, layout)


gather.defvjp(
    lambda param, axes: (gather(param, axes), None),
    lambda axes, _, gradient: (_constrain_by(AXIS_RULES, gradient, axes),),
)


def activation_spec(shape: tuple[int, ...], axes: AxisNames) -> PartitionSpec:
    """How an activation with these axis names is cut on the mesh that is set."""
    return spec("activation", shape, axes, jax.sharding.get_abstract_mesh(), ACTIVATION_RULES)


def param_spec(shape: tuple[int, ...], axes: AxisNames) -> PartitionSpec:
    """How a parameter with these axis names is cut on the mesh that is set."""
    return spec("", shape, axes, jax.sharding.get_abstract_mesh(), AXIS_RULES)


def local_rows(mesh: Mesh, size: int) -> range:
    """The rows of a batch of `size` that this process's devices hold, whatever their order.

    Processes that share only the `tensor` axis hold the same rows.
    """
    parts = batch_sharding(mesh).addressable_devices_indices_map((size,)).values()
    (block,) = hull(parts, (size,))
    return range(block.start, block.stop)


def to_global(batch: Any, mesh: Mesh, size: int | None = None) -> Any:
    """Each process's rows of a batch as one global array per leaf, cut over `batch_sharding`.

    Args:
      batch: pytree of numpy arrays [rows, ...] with the rows `local_rows(mesh, size)`.
      mesh: the device mesh.
      size: rows B of all processes together; default: those of `batch`.

    Returns:
      The pytree of arrays [B, ...].
    """
    sharding = batch_sharding(mesh)

    def one(x: np.ndarray) -> jax.Array:
        shape = (size or len(x), *x.shape[1:])
        begin = local_rows(mesh, shape[0]).start

        def part(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(shape[0])
            return x[start - begin : stop - begin]

        return jax.make_array_from_callback(shape, sharding, part)

    return jax.tree.map(one, batch)


def place(
    values: Any,
    where: Mesh | Sharding | None,
    finish: Callable[[str, jax.Array], Any] | None = None,
) -> Any:
    """Put arrays, equal on every process, where they shall lie, one after another.

    Args:
      values: pytree of whatever `put` takes.
      where: the device mesh, on which they lie as `PARAM_AXES` says; or the layout of all; None:
        on the default device.
      finish: makes of a path and its array what is kept, before the next array is put.

    Returns:
      The pytree of jax arrays.
    """

    def one(keys: tuple[Any, ...], x: Any, layout: Sharding | None = where) -> Any:
        array = put(x, layout)
        return finish(_path(keys), array) if finish else array

    layouts = (state_shardings(values, where),) if isinstance(where, Mesh) else ()
    return jax.tree_util.tree_map_with_path(one, values, *layouts)


def put(x: Any, layout: Sharding | None) -> jax.Array:
    """Lay one array out over devices; when it returns, the host's copy may go.

    Args:
      x: numpy or jax array, or anything with `shape` and `dtype` that gives numpy arrays for
        `x[slices]`; of that, only this process's slices are read, in one piece if they fill one.
      layout: where it shall lie; None: on the default device.
    """
    if layout is None or isinstance(x, jax.Array):
        x = x if isinstance(x, jax.Array) else np.asarray(x)
        return jax.block_until_ready(jax.device_put(x, layout))
    part = read_slices(x, layout.addressable_devices_indices_map(x.shape).values())
    array = jax.make_array_from_callback(x.shape, layout, part)
    return jax.block_until_ready(array)


def read_slices(
    x: Any, parts: Collection[tuple[slice, ...]]
) -> Callable[[tuple[slice, ...]], np.ndarray]:
    """Read slices of an array, each once; all in one piece if together they fill one.

    Args:
      x: as for `put`.
      parts: the slices.

    Returns:
      From the slices of one part to its numbers.
    """
    ours = {_bounds(part, x.shape) for part in parts}
    around = _bounds(hull(parts, x.shape), x.shape)
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


def hull(parts: Iterable[tuple[slice, ...]], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The smallest block of an array of that shape that holds all of these parts."""
    bounds = [_bounds(part, shape) for part in parts]
    axes = zip(*bounds, strict=True)
    return tuple(slice(min(a for a, _ in axis), max(b for _, b in axis)) for axis in axes)


def _bounds(part: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(s.indices(n)[:2] for s, n in zip(part, shape, strict=True))


def _volume(block: tuple[tuple[int, int], ...]) -> int:
    return math.prod(stop - start for start, stop in block)


def to_host(x: jax.Array) -> np.ndarray:
    """The whole array on every process; all processes must call it."""
    if not x.is_fully_addressable:
        x = jax.jit(lambda x: x, out_shardings=replicated(x.sharding.mesh))(x)
    return np.asarray(x)


def _path(keys: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)
