"""The loop that decodes tokens on the device: one at a time, or several that are guessed first.

A method's choice depends on logits, seed and position alone, so that token i is a function of the
tokens before it. In a turn of the loop a window of W tokens is run at once: the next token, which
is known, and guesses of those that follow. The method then chooses again at each position. As long
as its choices are the guesses, the logits were right: these choices are the tokens that decoding
one at a time gives. A window of 1 is decoding one at a time.

Guesses are the tokens of the source image, and after a turn the method's choices behind the first
wrong guess, which saw nearly the right tokens. Where guesses seldom hold, the loop turns to a
window of 1, which costs no more than decoding one at a time, until they hold again.

Source: Wiggers and Hoogeboom 2020 (Predictive Sampling with Forecasting Autoregressive Models),
algorithm 2; Song et al. 2021 (Accelerating Feedforward Computation via Parallel Nonlinear Equation
Solving), section 4, on Jacobi iteration.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32

from jaxedit.config import EditARConfig
from jaxedit.sampling import next_token
from jaxedit.sampling.decode_weights import Weights
from jaxedit.sampling.methods import SamplingMethod
from jaxedit.sampling.next_token import Past, Prefix

MEMORY = 0.875  # weight of the share of guesses that held, when the next token's guess is counted
LEAST_SHARE = 0.5  # of guesses that hold, for windows to be run


class State(NamedTuple):
    """The state of decoding between two segments.

    Attributes:
      past: what each row has read.
      logits: logits of the token at `position`.
      position: number of tokens that are decoded.
    """

    past: Past
    logits: Float32[Array, "B R V"]
    position: Int32[Array, ""]


class _Loop(NamedTuple):
    """The loop's carry; images may be at different positions.

    Attributes:
      past, logits: as of `State`.
      position: number of tokens that are decoded, of each image.
      tokens: the tokens of this segment, behind each image's position guesses.
      records: what the method recorded, per token.
      share: share of the latest guesses that held.
      turns: number of turns.
    """

    past: Past
    logits: Float32[Array, "B R V"]
    position: Int32[Array, " B"]
    tokens: Int32[Array, "B R _"]
    records: Any
    share: Float32[Array, " B"]
    turns: Int32[Array, ""]


def slots_for(tokens: int, window: int) -> int:
    """Return the length of caches in which `tokens` tokens can be decoded.

    A slot stands for the text. Windows may reach beyond the last token, where images that are
    finished wait for the others.
    """
    return tokens + 1 + (window if window > 1 else 0)


def decode(
    weights: Weights,
    config: EditARConfig,
    prefix: Prefix,
    state: State,
    method: SamplingMethod,
    guesses: Int32[Array, "B N"] | None = None,
    *,
    steps: int,
    window: int = 1,
) -> tuple[State, Int32[Array, "B R {steps}"], Any, Int32[Array, ""]]:
    """Decode the next tokens of every row in one loop on the device.

    A row depends on the rows of its own image alone.

    Args:
      weights: of the transformer.
      config: sizes.
      prefix: as for `next_token.start`.
      state: with caches of at least `slots_for(position + steps, window)` slots.
      method: chooses each row's token from the logits of all rows of its image.
      guesses: of all tokens of each image, for windows; None: all 0.
      steps: number of tokens (static).
      window: largest number of tokens that are run at once (static).

    Returns:
      The new state, the tokens, the method's records, stacked along axis 1 of `steps`, and the
      number of turns that the loop took.

    Raises:
      ValueError: the caches are too short for so many steps.
    """
    slots = weights.layout.length(state.past.caches[0].keys)
    if slots < slots_for(steps, window):
        expected = f"expected at least {slots_for(steps, window)} for {steps} steps"
        raise ValueError(f"{slots} slots: {expected}, window {window}")
    stop = state.position + steps
    run = functools.partial(next_token.extend, weights, config, prefix)
    turn = functools.partial(_turn, run, method, steps=steps, stop=stop, apart=window > 1)
    loop = _start(state, method, guesses, steps + window)
    if window == 1:  # a fixed number of turns, which a GPU need not ask for
        loop = jax.lax.fori_loop(0, steps, lambda _, loop: turn(loop, 1), loop)
    else:

        def adapt(loop: _Loop) -> _Loop:
            wide, narrow = (functools.partial(turn, width=width) for width in (window, 1))
            return jax.lax.cond(_is_promising(loop, stop), wide, narrow, loop)

        loop = jax.lax.while_loop(lambda loop: jnp.any(loop.position < stop), adapt, loop)
    records = jax.tree.map(lambda x: x[:, :steps], loop.records)
    return State(loop.past, loop.logits, stop), loop.tokens[:, :, :steps], records, loop.turns


def _start(
    state: State, method: SamplingMethod, guesses: Int32[Array, "B N"] | None, length: int
) -> _Loop:
    """Return the loop's first carry, for `length` tokens and guesses."""
    B, R, _ = state.logits.shape
    position = jnp.full(B, state.position)
    _, record = jax.eval_shape(method, state.logits, position)
    tokens = jnp.zeros((B, R, length), jnp.int32)
    if guesses is not None:
        padded = jnp.pad(guesses, ((0, 0), (0, length)))
        part = jax.lax.dynamic_slice_in_dim(padded, state.position, length, axis=1)
        tokens = jnp.broadcast_to(part[:, None], tokens.shape)
    records = jax.tree.map(lambda x: jnp.zeros((B, length, *x.shape[1:]), x.dtype), record)
    share = jnp.full(B, LEAST_SHARE)
    return _Loop(state.past, state.logits, position, tokens, records, share, jnp.int32(0))


def _turn(
    run: Callable[..., tuple[Past, jax.Array]],
    method: SamplingMethod,
    loop: _Loop,
    width: int,
    *,
    steps: int,
    stop: Int32[Array, ""],
    apart: bool,
) -> _Loop:
    """Run `width` tokens of every row; keep the choices up to the first wrong guess, and its own.

    `apart` says that images may be at different positions.
    """
    offset = loop.position - (stop - steps)
    guessed = _read(loop.tokens, offset, width)  # [B,R,W]
    first, record = method(loop.logits, loop.position)
    window = guessed.at[:, :, 0].set(first)
    past, logits = run(loop.past, window, loop.position if apart else loop.position[:1])
    chosen, records = _choose_later(method, logits, loop.position, (first, record))
    held = jnp.all(chosen == guessed, axis=1)  # [B,W]
    right = 1 + jnp.sum(jnp.cumprod(held[:, 1:], axis=1), axis=1, dtype=jnp.int32)
    count = jnp.minimum(right, stop - loop.position)  # 0 for finished images
    more = jnp.maximum(count - 1, 0)  # than the first
    kept = jnp.take_along_axis(logits, more[:, None, None, None], axis=2)[:, :, 0]
    if apart:
        kept = jnp.where((count > 0)[:, None, None], kept, loop.logits)
    # The choice behind the tokens that are kept is right: it comes first in the next window, and
    # its guess is left as it was, for the share of guesses that hold.
    is_known = (jnp.arange(width)[None] == count[:, None])[:, None]  # [B,1,W]
    share = MEMORY * loop.share + (1 - MEMORY) * held[:, 0]
    share = 1 - MEMORY**more * (1 - share)
    return _Loop(
        past,
        kept,
        loop.position + count,
        _write(loop.tokens, jnp.where(is_known, guessed, chosen), offset, axis=1),
        jax.tree.map(functools.partial(_write, at=offset), loop.records, records),
        share,
        loop.turns + 1,
    )


def _choose_later(
    method: SamplingMethod,
    logits: Float32[Array, "B R W V"],
    position: Int32[Array, " B"],
    first: tuple[jax.Array, Any],
) -> tuple[Int32[Array, "B R W"], Any]:
    """Choose all tokens of a window but the first, which is given; join tokens and records.

    `logits` are those after each token of the window.
    """
    W, tokens = logits.shape[2], [first[0][:, :, None]]
    records = [jax.tree.map(lambda x: x[:, None], first[1])]
    if W > 1:
        later = position[:, None] + jnp.arange(1, W)[None]  # [B,W-1]
        chosen, record = jax.vmap(method, (2, 1), (2, 1))(logits[:, :, :-1], later)
        tokens, records = [*tokens, chosen], [*records, record]
    return jnp.concatenate(tokens, axis=2), jax.tree.map(
        lambda *x: jnp.concatenate(x, axis=1), *records
    )


def _is_promising(loop: _Loop, stop: Int32[Array, ""]) -> Bool[Array, ""]:
    """Return whether enough guesses held lately, on average over unfinished images."""
    return jnp.sum(jnp.where(loop.position < stop, loop.share - LEAST_SHARE, 0)) >= 0


def _read(tokens: Int32[Array, "B R S"], at: Int32[Array, " B"], length: int) -> jax.Array:
    """Return `length` tokens from each image's own start."""
    read = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=length, axis=1)
    return jax.vmap(read)(tokens, at)


def _write(old: jax.Array, new: jax.Array, at: Int32[Array, " B"], axis: int = 0) -> jax.Array:
    """Replace a part of each image's array, from its own start along an axis."""
    write = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=axis)
    return jax.vmap(write)(old, new, at)
