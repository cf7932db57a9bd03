"""The phases of making a picture, per architecture: caches that are kept, and activations."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.checkpoints.pretrained import abstract_params
from jaxedit.config import PretrainedConfig
from jaxedit.config.precision import dtype_of
from jaxedit.erec import dual_path
from jaxedit.models.varedit import Decoding, VAREdit
from jaxedit.ops import pyramid
from jaxedit.planning import activations
from jaxedit.planning.device_memory import bytes_per_device
from jaxedit.sampling import next_scale, sample_editar
from jaxedit.sampling.token_loop import slots_for

Shape = jax.ShapeDtypeStruct


class Phase(NamedTuple):
    """A part of the work.

    Attributes:
      name: what is done, for "at most while ...".
      kept: bytes of the caches that are kept meanwhile.
      needs: bytes that are needed besides.
    """

    name: str
    kept: int
    needs: int


class Phases(NamedTuple):
    """All parts of the work, and how many rows of the transformer's batch a picture takes."""

    rows: int
    parts: list[Phase]


def in_memory(
    networks: tree.Tree, config: PretrainedConfig, dtype: str, t5_dtype: str | None = None
) -> tree.Tree:
    """Give the shapes of networks {"transformer": ...} the dtypes that they have in memory."""

    def converted(path: str, leaf: Shape) -> Shape:
        return leaf.update(dtype=jnp.dtype(dtype_of(path, config.model_type, dtype, t5_dtype)))

    return tree.map_with_path(converted, networks)


def varedit_phases(
    config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int, tensor: int
) -> Phases:
    """Return the phases of making `rows` pictures at once with VAREdit or Infinity.

    Of what `tensor` devices share, a device's part is counted.
    """
    c, itemsize = config.varedit, jnp.dtype(dtype).itemsize
    size = c.latent_scales[-1][0] * config.bsq.stride
    paths = next_scale.PATHS
    if len(settings) > 1:
        paths = dual_path.layout(settings[1].recon_guidance, len(paths)).path
    sides = len(paths) * rows  # with the text and without, on each path
    state = _varedit_state(config, dtype, rows, len(paths))
    kept = bytes_per_device((state.first_text, state.text, state.first_cache, state.cache), None)
    beside = (bytes_per_device(state, None) - kept) // tensor  # references, mostly
    kept //= tensor
    source = pyramid.tokens(c.source_scales(c.scales))
    token = sides * 2 * c.width * itemsize // tensor  # a token's key and value, in one layer

    def block(tokens: int, seen: int) -> int:
        return sides * activations.varedit_block(c, tokens, seen, itemsize, tensor)

    def decoding(k: int) -> int:
        """Return the bytes of a block at scale k, and of its cache joined with the new tokens."""
        new, seen = pyramid.tokens(c.scales[k : k + 1]), source + pyramid.tokens(c.scales[: k + 1])
        return block(new, seen) + token * seen

    reading = [
        Phase("reading the picture", 0, rows * activations.image_encoder(config.bsq, size)),
        Phase("reading source and text", kept, beside + block(source, source)),
    ]
    parts = [
        *(reading if source else []),
        Phase("decoding the scales", kept, beside + max(map(decoding, range(len(c.scales))))),
        Phase("drawing the picture", 0, rows * activations.image_decoder(config.bsq, size)),
    ]
    return Phases(len(paths), parts)


@functools.lru_cache(8)
def _varedit_state(config: PretrainedConfig, dtype: str, pictures: int, sides: int) -> Decoding:
    """Return the shapes of the caches of pictures, each of which has `sides` rows."""
    c = config.varedit
    params = in_memory({"transformer": abstract_params(config)["transformer"]}, config, dtype)
    source, rows = pyramid.tokens(c.source_scales(c.scales)), pictures * sides
    inputs = (
        Shape((rows, c.max_text_tokens, c.text_width), jnp.float32),
        Shape((rows, c.max_text_tokens), jnp.bool_),
        Shape((rows,), jnp.bool_),
        Shape((rows, source, c.token_bits), jnp.float32),
    )
    schedule = {"scales": c.scales, "rope_scales": c.rope_scales}
    begin = functools.partial(VAREdit(c, dtype).apply, method="begin", **schedule)
    return jax.eval_shape(begin, {"params": params["transformer"]}, *inputs)


def editar_phases(
    config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int, tensor: int
) -> Phases:
    """Return the phases of making `rows` pictures at once with EditAR, ERec or LlamaGen.

    `tensor` is as for `varedit_phases`.
    """
    c, itemsize = config.editar, jnp.dtype(dtype).itemsize
    N, size, segment = c.image_tokens, c.grid * config.vq.stride, sample_editar.segment_of(c)
    texts = _texts_of_rows(settings)
    prefix, caches = _editar_state(config, settings, dtype, rows)
    of_picture, of_rows = (bytes_per_device(part, None) // tensor for part in (prefix, caches))
    is_edit, window = c.prefix == "edit", sample_editar.window_of(settings[0])
    sides = rows * len(texts)

    def of_tokens(tokens: int) -> int:
        return of_rows * slots_for(tokens, window) // slots_for(N, window)

    reading = rows * activations.image_encoder(config.vq, size)
    block = functools.partial(activations.editar_block, c, itemsize=itemsize, tensor=tensor)
    prefilling = of_picture + rows * block(tokens=N, seen=N)
    beginning = sides * block(tokens=c.prefix_tokens - N * is_edit, seen=0)
    # Logits, guided logits, those that are left, and noise.
    choosing = sides * window * 4 * c.codes * activations.F32
    drawing = rows * activations.image_decoder(config.vq, size)
    parts = [
        *([Phase("reading the picture", 0, max(reading, prefilling))] if of_picture else []),
        Phase("reading the text's tokens", of_picture, beginning + of_tokens(segment)),
        Phase("lengthening the caches", of_picture + of_rows, of_tokens(N - segment)),
        Phase("decoding", of_picture + of_rows, choosing),
        Phase("drawing the picture", of_picture, drawing),
    ]
    return Phases(len(texts), parts)


@functools.lru_cache(8)
def _editar_state(
    config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int
) -> tuple[Any, Any]:
    """Return the shapes of the keys and values of `rows` pictures, and of all rows decoded."""
    c, texts = config.editar, len(settings)  # with ERec each picture has two texts
    networks = jax.eval_shape(
        functools.partial(sample_editar.prepare, config, dtype=dtype), abstract_params(config)
    )
    text = Shape((rows, texts, c.text_tokens, c.text_width), jnp.float32)
    if c.prefix == "class":
        text = Shape((rows, texts), jnp.int32)
    mask = Shape(text.shape[:3], jnp.bool_)
    prefix = sample_editar.NO_SOURCE.prefix
    if c.prefix == "edit":
        pixels = Shape((rows, *2 * (c.grid * config.vq.stride,), 3), jnp.uint8)
        read = functools.partial(sample_editar.read_source, config=config)
        prefix = jax.eval_shape(read, networks, pixels).prefix
    if settings[0].guidance_mode != "text":
        drop = functools.partial(sample_editar.drop_image, rows=1, config=c)
        prefix = jax.eval_shape(drop, networks.weights, prefix)
    slots = slots_for(c.image_tokens, sample_editar.window_of(settings[0]))
    begin = functools.partial(
        sample_editar.begin, rows=_texts_of_rows(settings), slots=slots, config=c
    )
    return prefix, jax.eval_shape(begin, networks.weights, prefix, text, mask).past.caches


def _texts_of_rows(settings: tuple[Any, ...]) -> tuple[int | None, ...]:
    """Return the number of the text that each row of a picture reads; None: no text."""
    rows = sample_editar.text_rows(settings[0])
    if len(settings) == 1:
        return rows
    return dual_path.layout(settings[1].recon_guidance, len(rows)).texts
