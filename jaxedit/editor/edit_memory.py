"""What an edit will hold in the memory of each device, told from the settings alone.

Weights and caches are exact: the shapes of what the programs allocate. What is computed on the way
is an estimate, see `activations`: the largest of the phases, each with what is kept beside it.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.checkpoints.pretrained import abstract_params
from jaxedit.config import PretrainedConfig
from jaxedit.config.precision import dtype_of, t5_dtype_for
from jaxedit.editor.text_features import text_tokens
from jaxedit.erec import dual_path
from jaxedit.models.varedit import Decoding, VAREdit
from jaxedit.ops import int8, pyramid
from jaxedit.planning import activations
from jaxedit.planning.device_memory import MemoryItem, MemorySaving, bytes_per_device, total
from jaxedit.sampling import sample_editar

Shape = jax.ShapeDtypeStruct


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a model will be run.

    Attributes:
      dtype: of the transformer.
      t5_dtype: of the text encoder; None: see `t5_dtype_for`.
      rows: pictures at once on each device.
      text: where the text encoder is: "device", "host", or "file" where its features are read.
      int8: networks whose kernels are integers: t5, transformer.
    """

    dtype: str = "bfloat16"
    t5_dtype: str | None = None
    rows: int = 1
    text: str = "device"
    int8: tuple[str, ...] = ()


class Phase(NamedTuple):
    """A part of an edit: bytes of the caches that are kept meanwhile, and what it needs beside."""

    name: str
    kept: int
    needs: int


def memory_items(
    config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan
) -> list[MemoryItem]:
    """Everything that is in the memory of a device; each one holds all weights.

    Args:
      config: of an editor.
      settings: of its method, see `config.settings_of`.
      plan: how it will be run.
    """
    phases = _phases(config, settings, plan.dtype, plan.t5_dtype, plan.rows)
    if plan.text != "device":
        phases = phases[1:]
    caches = max(phase.kept for phase in phases)
    heaviest = max(phases, key=lambda phase: phase.kept + phase.needs)
    beside = heaviest.kept + heaviest.needs - caches
    return [
        *_weights(config, plan),
        MemoryItem("keys and values", caches, _rows_of(config, settings, plan.rows)),
        MemoryItem("activations", beside, f"estimate; at most while {heaviest.name}"),
    ]


def memory_savings(
    config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan
) -> list[MemorySaving]:
    """What saves memory, the cheapest first, each with the bytes that are needed from then on."""
    changes: list[tuple[str, dict[str, Any]]] = []
    if plan.text == "device":
        changes.append(("--text_on_host or --text_features=FILE", {"text": "host"}))
    if plan.rows > 1:
        changes.append(("--rows_per_device=1", {"rows": 1}))
    if plan.dtype == "float32":
        changes.append(("--dtype=bfloat16", {"dtype": "bfloat16"}))
    if "transformer" not in plan.int8:
        networks = tuple(sorted({*plan.int8, "transformer"}))
        changes.append((f"--int8={','.join(networks)}", {"int8": networks}))
    found = []
    for change, fields in changes:
        plan = dataclasses.replace(plan, **fields)
        found.append(MemorySaving(change, total(memory_items(config, settings, plan))))
    least = found[-1].nbytes if found else total(memory_items(config, settings, plan))
    return [*found, MemorySaving("a device with more memory, or weights cut over several", least)]


_shapes = functools.lru_cache(8)(abstract_params)


def _weights(config: PretrainedConfig, plan: Plan) -> list[MemoryItem]:
    names = {"bsq": "image tokenizer", "vq": "image tokenizer", "t5": "text encoder"}
    found = []
    for network, shapes in _shapes(config).items():
        params = _in_memory({network: shapes}, config, plan.dtype, plan.t5_dtype)
        kinds = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)})
        if network in plan.int8:
            params, kinds = tree.map_with_path(_compressed, params), ["int8"]
        size, remark = (
            bytes_per_device(params, None),
            f"{tree.count(shapes):,} in {' and '.join(kinds)}",
        )
        if network == "t5" and plan.text != "device":
            size, remark = 0, f"on the host, {size / 1e9:.2f} GB"
            if plan.text == "file":
                remark = "not loaded while the file has all features"
        found.append(MemoryItem(names.get(network, network), size, remark))
    return found


def _in_memory(
    networks: tree.Tree, config: PretrainedConfig, dtype: str, t5_dtype: str | None
) -> tree.Tree:
    """Shapes of networks {"transformer": ...} as they are in memory."""

    def one(path: str, leaf: Shape) -> Shape:
        return leaf.update(dtype=jnp.dtype(dtype_of(path, config.model_type, dtype, t5_dtype)))

    return tree.map_with_path(one, networks)


def _compressed(path: str, leaf: Shape) -> Any:
    return jax.eval_shape(int8.quantize, leaf) if int8.KERNELS.search(path) else leaf


def _rows_of(config: PretrainedConfig, settings: tuple[Any, ...], rows: int) -> str:
    guided = 2 if config.model_type == "varedit" else len(_rows(settings))
    return f"{rows} x {guided} rows"


@functools.lru_cache(8)
def _phases(
    config: PretrainedConfig,
    settings: tuple[Any, ...],
    dtype: str,
    t5_dtype: str | None,
    rows: int,
) -> list[Phase]:
    """Reading the text first, then the phases of the method."""
    t5_dtype = t5_dtype or t5_dtype_for(dtype)
    reading = activations.t5(config.t5, text_tokens(config), jnp.dtype(t5_dtype).itemsize)
    phases = _of_varedit if config.model_type == "varedit" else _of_editar
    return [Phase("reading the text", 0, reading), *phases(config, settings, dtype, rows)]


def _of_varedit(
    config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int
) -> list[Phase]:
    c, itemsize = config.varedit, jnp.dtype(dtype).itemsize
    size = c.latent_scales[-1][0] * config.bsq.stride
    state = _begun(config, dtype, rows)
    kept = bytes_per_device((state.first_text, state.text, state.first_cache, state.cache), None)
    beside = bytes_per_device(state, None) - kept  # references, mostly
    source = pyramid.tokens(c.scales if c.conditioning == "full" else c.scales[-1:])
    sides = 2 * rows  # with the text and without
    token = sides * 2 * c.width * itemsize  # its key and value, in one layer

    def running(tokens: int, seen: int) -> int:
        return sides * activations.varedit_block(c, tokens, seen, itemsize)

    def extending(k: int) -> int:
        """A block, and its cache joined with the new tokens."""
        new, seen = pyramid.tokens(c.scales[k : k + 1]), source + pyramid.tokens(c.scales[: k + 1])
        return running(new, seen) + token * seen

    extended = max(map(extending, range(len(c.scales))))
    return [
        Phase("reading the picture", 0, rows * activations.image_encoder(config.bsq, size)),
        Phase("reading source and text", kept, beside + running(source, source)),
        Phase("decoding the scales", kept, beside + extended),
        Phase("drawing the picture", 0, rows * activations.image_decoder(config.bsq, size)),
    ]


def _begun(config: PretrainedConfig, dtype: str, rows: int) -> Decoding:
    """Shapes of the caches of `rows` pictures, each with the text and without."""
    c = config.varedit
    model = VAREdit(c, dtype)
    params = _in_memory({"transformer": _shapes(config)["transformer"]}, config, dtype, None)
    source = sum(h * w for h, w in model.source_scales(c.scales))
    inputs = (
        Shape((2 * rows, c.max_text_tokens, c.text_width), jnp.float32),
        Shape((2 * rows, c.max_text_tokens), jnp.bool_),
        Shape((2 * rows,), jnp.bool_),
        Shape((2 * rows, source, c.token_bits), jnp.float32),
    )
    schedule = {"scales": c.scales, "rope_scales": c.rope_scales}
    begin = functools.partial(model.apply, method="begin", **schedule)
    return jax.eval_shape(begin, {"params": params["transformer"]}, *inputs)


def _of_editar(
    config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int
) -> list[Phase]:
    c, itemsize = config.editar, jnp.dtype(dtype).itemsize
    N, size, segment = c.image_tokens, c.grid * config.vq.stride, sample_editar.segment_of(c)
    prefix, caches = _prefilled(config, settings, dtype, rows)
    of_picture, of_rows = bytes_per_device(prefix, None), bytes_per_device(caches, None)
    sides = rows * len(_rows(settings))

    def of_slots(slots: int) -> int:
        return of_rows * slots // (N + 1)

    reading = rows * activations.image_encoder(config.vq, size)
    prefilling = of_picture + rows * activations.editar_block(c, N, N, itemsize)
    beginning = sides * activations.editar_block(c, c.text_tokens, 0, itemsize)
    choosing = sides * 4 * c.codes * activations.F32  # logits, guided, those that are left, noise
    drawing = rows * activations.image_decoder(config.vq, size)
    return [
        Phase("reading the picture", 0, max(reading, prefilling)),
        Phase("reading the text's tokens", of_picture, beginning + of_slots(segment + 1)),
        Phase("lengthening the caches", of_picture + of_rows, of_slots(N + 1 - segment)),
        Phase("decoding", of_picture + of_rows, choosing),
        Phase("drawing the picture", of_picture, drawing),
    ]


def _prefilled(
    config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int
) -> tuple[Any, Any]:
    """Shapes of the keys and values of `rows` pictures, and of all rows that are decoded."""
    c, texts = config.editar, max(1, len(settings))  # with ERec each picture has two
    networks = jax.eval_shape(
        functools.partial(sample_editar.prepare, config, dtype=dtype), _shapes(config)
    )
    pixels = Shape((rows, *2 * (c.grid * config.vq.stride,), 3), jnp.uint8)
    text = Shape((rows, texts, c.text_tokens, config.t5.width), jnp.float32)
    mask = Shape(text.shape[:3], jnp.bool_)
    read = functools.partial(sample_editar.read_source, config=config)
    prefix = jax.eval_shape(read, networks, pixels).prefix
    if settings[0].guidance_mode != "text":
        drop = functools.partial(sample_editar.drop_image, rows=1, config=c)
        prefix = jax.eval_shape(drop, networks.weights, prefix)
    slots = c.image_tokens + 1
    begin = functools.partial(sample_editar.begin, rows=_rows(settings), slots=slots, config=c)
    return prefix, jax.eval_shape(begin, networks.weights, prefix, text, mask).caches


def _rows(settings: tuple[Any, ...]) -> tuple[int | None, ...]:
    """The text that each row of a picture reads."""
    rows = sample_editar.text_rows(settings[0])
    if len(settings) == 1:
        return rows
    return dual_path.layout(settings[1].recon_guidance, len(rows)).texts
