"""What an edit will hold in the memory of each device, told from the settings alone.

Weights and caches are exact: the shapes of what the programs allocate. What is computed on the way
is an estimate, see `live_memory`: the largest of the phases, each with what is kept beside it.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import tree
from jaxedit.config import PretrainedConfig
from jaxedit.config.precision import dtype_of, t5_dtype_for
from jaxedit.convert.pretrained import abstract_params
from jaxedit.editor.text import text_tokens
from jaxedit.erec import decode as erec_decode
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import int8
from jaxedit.parallel.live_memory import peak_bytes
from jaxedit.parallel.memory import Entry, Lever, on_device, total
from jaxedit.sampling import editar, next_token
from jaxedit.sampling.text import encode_text

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


def entries(config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan) -> list[Entry]:
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
        Entry("keys and values", caches, _rows_of(config, settings, plan.rows)),
        Entry("activations", beside, f"estimate; at most while {heaviest.name}"),
    ]


def levers(config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan) -> list[Lever]:
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
        found.append(Lever(change, total(entries(config, settings, plan))))
    least = found[-1].nbytes if found else total(entries(config, settings, plan))
    return [*found, Lever("a device with more memory, or weights cut over several", least)]


_shapes = functools.lru_cache(8)(abstract_params)


def _weights(config: PretrainedConfig, plan: Plan) -> list[Entry]:
    names = {"bsq": "image tokenizer", "vq": "image tokenizer", "t5": "text encoder"}
    found = []
    for network, shapes in _shapes(config).items():
        params = _in_memory({network: shapes}, config, plan.dtype, plan.t5_dtype)
        kinds = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)})
        if network in plan.int8:
            params, kinds = tree.map_with_path(_compressed, params), ["int8"]
        size, remark = on_device(params, None), f"{tree.count(shapes):,} in {' and '.join(kinds)}"
        if network == "t5" and plan.text != "device":
            size, remark = 0, f"on the host, {size / 1e9:.2f} GB"
            if plan.text == "file":
                remark = "not loaded while the file has all features"
        found.append(Entry(names.get(network, network), size, remark))
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
    shapes = _in_memory(_shapes(config), config, dtype, t5_dtype)
    if "t5" in shapes:
        t5_dtype = t5_dtype or t5_dtype_for(dtype)
        ids = Shape((1, text_tokens(config)), jnp.int32)
        encode = functools.partial(encode_text, config=config.t5, dtype=t5_dtype)
        reading = Phase("reading the text", 0, peak_bytes(encode, shapes["t5"], ids, ids))
    phases = _of_varedit if config.model_type == "varedit" else _of_editar
    return [reading, *phases(config, shapes, settings, dtype, rows)]


def _of_varedit(
    config: PretrainedConfig, shapes: tree.Tree, settings: tuple[Any, ...], dtype: str, rows: int
) -> list[Phase]:
    c, K = config.varedit, len(config.varedit.scales)
    model, bsq = VAREdit(c, dtype), BSQTokenizer(config.bsq)
    params = shapes["transformer"]
    size = c.latent_scales[-1][0] * config.bsq.stride
    tokens = c.scales[-1][0] * c.scales[-1][1]
    source = sum(h * w for h, w in model.source_scales(c.scales))

    def begin(params: Any, text: Any, mask: Any, source: Any) -> Any:
        drop = jnp.zeros(len(mask), bool)
        schedule = {"scales": c.scales, "rope_scales": c.rope_scales}
        inputs = (text, mask, drop, source)
        return model.apply({"params": params}, *inputs, **schedule, method="begin")

    def extend(params: Any, state: Any, x: Any) -> Any:
        arguments = ({"params": params}, state, x, K - 1)
        return model.apply(*arguments, scales=c.scales, method="extend")[0]

    def run(method: str) -> Any:
        return lambda params, x: bsq.apply({"params": params}, x, method=method)

    inputs = (
        params,
        Shape((2 * rows, c.max_text_tokens, c.text_width), jnp.float32),
        Shape((2 * rows, c.max_text_tokens), jnp.bool_),
        Shape((2 * rows, source, c.token_bits), jnp.float32),
    )
    state = jax.eval_shape(begin, *inputs)
    kept = on_device((state.first_text, state.text, state.first_cache, state.cache), None)
    made = on_device(state, None)
    x = Shape((2 * rows, tokens, c.token_bits), jnp.float32)
    pixels = Shape((rows, size, size, 3), jnp.float32)
    feature = Shape((rows, *c.latent_scales[-1], c.bits), jnp.float32)
    return [
        Phase("reading the picture", 0, peak_bytes(run("encode"), shapes["bsq"], pixels)),
        Phase("reading source and text", kept, peak_bytes(begin, *inputs) - made),
        Phase("decoding the last scale", kept, peak_bytes(extend, params, state, x)),
        Phase("drawing the picture", 0, peak_bytes(run("decode"), shapes["bsq"], feature)),
    ]


def _of_editar(
    config: PretrainedConfig, shapes: tree.Tree, settings: tuple[Any, ...], dtype: str, rows: int
) -> list[Phase]:
    c, sample = config.editar, settings[0]
    texts = max(1, len(settings))  # with ERec each picture has two
    read = functools.partial(editar.read_source, config=config)
    draw = functools.partial(editar.draw, config=config)
    networks = jax.eval_shape(functools.partial(editar.prepare, config, dtype=dtype), shapes)
    size = c.grid * config.vq.stride
    pixels = Shape((rows, size, size, 3), jnp.uint8)
    text = Shape((rows, texts, c.text_tokens, config.t5.width), jnp.float32)
    mask = Shape(text.shape[:3], jnp.bool_)
    source = jax.eval_shape(read, networks, pixels)
    prefix = source.prefix
    if sample.guidance_mode != "text":
        drop = functools.partial(editar.drop_image, rows=1, config=c)
        prefix = jax.eval_shape(drop, networks.weights, prefix)

    def begin(slots: int) -> Any:
        return functools.partial(editar.begin, rows=_rows(settings), slots=slots, config=c)

    segment = editar.segment_of(c)
    state = jax.eval_shape(begin(c.image_tokens + 1), networks.weights, prefix, text, mask)
    policy = _policy(settings, rows, source.codes)

    def decode(weights: Any, prefix: Any, state: Any, policy: Any) -> Any:
        return next_token.decode(weights, c, prefix, state, policy, steps=segment)

    of_picture, of_rows = on_device(prefix, None), on_device(state.caches, None)
    shorter = of_rows * (c.image_tokens + 1 - segment) // (c.image_tokens + 1)
    decoding = peak_bytes(decode, networks.weights, prefix, state, policy) - on_device(state, None)
    beginning = peak_bytes(begin(segment + 1), networks.weights, prefix, text, mask)
    tokens = Shape((rows, c.image_tokens), jnp.int32)
    return [
        Phase("reading the picture", 0, peak_bytes(read, networks, pixels)),
        Phase("reading the text's tokens", of_picture, beginning),
        Phase("lengthening the caches", of_picture + of_rows, shorter),
        Phase("decoding", of_picture + of_rows, decoding),
        Phase("drawing the picture", of_picture, peak_bytes(draw, networks.vq, tokens)),
    ]


def _rows(settings: tuple[Any, ...]) -> tuple[int | None, ...]:
    """The text that each row of a picture reads."""
    rows = editar.text_rows(settings[0])
    if len(settings) == 1:
        return rows
    return erec_decode.layout(settings[1].recon_guidance, len(rows)).texts


def _policy(settings: tuple[Any, ...], rows: int, codes: Any) -> Any:
    """What chooses tokens, with shapes in place of arrays."""
    sample, seeds = settings[0], Shape((rows,), jnp.int32)
    if len(settings) == 1:
        return editar.EditPolicy(seeds, editar.Sampling.of(sample), sample.greedy)
    erec = settings[1]
    layout = erec_decode.layout(erec.recon_guidance, len(editar.text_rows(sample)))
    return erec_decode.Policy(
        *(seeds, codes, editar.Sampling.of(sample), np.float32(erec.tau_replace)),
        rows=layout,
        config=erec,
        greedy=sample.greedy,
    )
