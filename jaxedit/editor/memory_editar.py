"""What EditAR and LlamaGen hold in memory beside their weights."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit.config import PretrainedConfig
from jaxedit.editor.memory_phases import Phase, Phases, Shape, shapes_of
from jaxedit.erec import dual_path
from jaxedit.planning import activations
from jaxedit.planning.device_memory import bytes_per_device
from jaxedit.sampling import sample_editar


def phases(config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int) -> Phases:
    """Return the phases of making `rows` pictures at once."""
    c, itemsize = config.editar, jnp.dtype(dtype).itemsize
    N, size, segment = c.image_tokens, c.grid * config.vq.stride, sample_editar.segment_of(c)
    prefix, caches = _prefilled(config, settings, dtype, rows)
    of_picture, of_rows = bytes_per_device(prefix, None), bytes_per_device(caches, None)
    is_edit = c.prefix == "edit"
    sides = rows * len(_rows(settings))

    def of_slots(slots: int) -> int:
        return of_rows * slots // (N + 1)

    reading = rows * activations.image_encoder(config.vq, size)
    prefilling = of_picture + rows * activations.editar_block(c, N, N, itemsize)
    beginning = sides * activations.editar_block(c, c.prefix_tokens - N * is_edit, 0, itemsize)
    choosing = sides * 4 * c.codes * activations.F32  # logits, guided, those that are left, noise
    drawing = rows * activations.image_decoder(config.vq, size)
    parts = [
        *([Phase("reading the picture", 0, max(reading, prefilling))] if of_picture else []),
        Phase("reading the text's tokens", of_picture, beginning + of_slots(segment + 1)),
        Phase("lengthening the caches", of_picture + of_rows, of_slots(N + 1 - segment)),
        Phase("decoding", of_picture + of_rows, choosing),
        Phase("drawing the picture", of_picture, drawing),
    ]
    return Phases(len(_rows(settings)), parts)


def _prefilled(
    config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int
) -> tuple[Any, Any]:
    """Shapes of the keys and values of `rows` pictures, and of all rows that are decoded."""
    c, texts = config.editar, max(1, len(settings))  # with ERec each picture has two
    networks = jax.eval_shape(
        functools.partial(sample_editar.prepare, config, dtype=dtype), shapes_of(config)
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
    slots = c.image_tokens + 1
    begin = functools.partial(sample_editar.begin, rows=_rows(settings), slots=slots, config=c)
    return prefix, jax.eval_shape(begin, networks.weights, prefix, text, mask).caches


def _rows(settings: tuple[Any, ...]) -> tuple[int | None, ...]:
    """The text that each row of a picture reads."""
    rows = sample_editar.text_rows(settings[0])
    if len(settings) == 1:
        return rows
    return dual_path.layout(settings[1].recon_guidance, len(rows)).texts
