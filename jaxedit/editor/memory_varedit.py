"""What VAREdit and Infinity hold in memory beside their weights."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit.config import PretrainedConfig
from jaxedit.editor.memory_phases import Phase, Phases, Shape, in_memory, shapes_of
from jaxedit.models.varedit import Decoding, VAREdit
from jaxedit.ops import pyramid
from jaxedit.planning import activations
from jaxedit.planning.device_memory import bytes_per_device


def phases(config: PretrainedConfig, settings: tuple[Any, ...], dtype: str, rows: int) -> Phases:
    """Return the phases of making `rows` pictures at once."""
    c, itemsize = config.varedit, jnp.dtype(dtype).itemsize
    size = c.latent_scales[-1][0] * config.bsq.stride
    state = _begun(config, dtype, rows)
    kept = bytes_per_device((state.first_text, state.text, state.first_cache, state.cache), None)
    beside = bytes_per_device(state, None) - kept  # references, mostly
    source = pyramid.tokens(c.source_scales(c.scales))
    sides = 2 * rows  # with the text and without
    token = sides * 2 * c.width * itemsize  # its key and value, in one layer

    def running(tokens: int, seen: int) -> int:
        return sides * activations.varedit_block(c, tokens, seen, itemsize)

    def extending(k: int) -> int:
        """A block, and its cache joined with the new tokens."""
        new, seen = pyramid.tokens(c.scales[k : k + 1]), source + pyramid.tokens(c.scales[: k + 1])
        return running(new, seen) + token * seen

    extended = max(map(extending, range(len(c.scales))))
    reading = [
        Phase("reading the picture", 0, rows * activations.image_encoder(config.bsq, size)),
        Phase("reading source and text", kept, beside + running(source, source)),
    ]
    parts = [
        *(reading if source else []),
        Phase("decoding the scales", kept, beside + extended),
        Phase("drawing the picture", 0, rows * activations.image_decoder(config.bsq, size)),
    ]
    return Phases(2, parts)


def _begun(config: PretrainedConfig, dtype: str, rows: int) -> Decoding:
    """Shapes of the caches of `rows` pictures, each with the text and without."""
    c = config.varedit
    model = VAREdit(c, dtype)
    params = in_memory({"transformer": shapes_of(config)["transformer"]}, config, dtype, None)
    source = sum(h * w for h, w in c.source_scales(c.scales))
    inputs = (
        Shape((2 * rows, c.max_text_tokens, c.text_width), jnp.float32),
        Shape((2 * rows, c.max_text_tokens), jnp.bool_),
        Shape((2 * rows,), jnp.bool_),
        Shape((2 * rows, source, c.token_bits), jnp.float32),
    )
    schedule = {"scales": c.scales, "rope_scales": c.rope_scales}
    begin = functools.partial(model.apply, method="begin", **schedule)
    return jax.eval_shape(begin, {"params": params["transformer"]}, *inputs)
