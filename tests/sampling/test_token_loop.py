"""Windows of guessed tokens against one token after another."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import EditARConfig, ERecConfig, TokenSampleConfig
from jaxedit.erec.dual_path import DualPathSampling, layout
from jaxedit.models.editar import init_null, init_params
from jaxedit.sampling import next_token, token_loop
from jaxedit.sampling.decode_weights import unstack
from jaxedit.sampling.lock import LockedTokens
from jaxedit.sampling.methods import TokenSampling, numbers_of
from jaxedit.sampling.token_loop import State, slots_for

CONFIG = EditARConfig(
    layers=2, width=16, heads=2, mlp_hidden=32, codes=24, grid=4, text_tokens=3, text_width=8,
    distill_width=0,
)  # fmt: skip
B, N, W = 3, CONFIG.image_tokens, 5


@jax.jit
def begin(source, text):
    """Weights, prefix, and the state at the first token, with room for windows."""
    key = rng.key_for(0, "init")
    shapes = jax.eval_shape(lambda: (init_params(CONFIG, key), init_null(CONFIG, key)))
    draw = np.random.default_rng(0)
    params, null = jax.tree.map(
        lambda x: jnp.float32(draw.standard_normal(x.shape)) * x.shape[-1] ** -0.3, shapes
    )
    weights = unstack(CONFIG, params, null, "float32")
    prefix = next_token.prefill_image(weights, CONFIG, source)
    started = next_token.start(weights, CONFIG, prefix, text, slots=slots_for(N, W))
    return weights, prefix, State(*started, jnp.int32(0))


decode = jax.jit(token_loop.decode, static_argnames=("config", "steps", "window"))


def both_ways(method: Any, rows: int, source, guesses=None):
    """What `decode` returns for a window of 1 and of W.

    Unless they are given, guesses are the tokens of the last row, of which a tenth are wrong.
    """
    text = jnp.asarray(np.random.default_rng(1).standard_normal((B, rows, 3, 8), np.float32))
    weights, prefix, state = begin(source, text)
    run = functools.partial(decode, weights, CONFIG, prefix, state, method, steps=N)
    with jax.default_matmul_precision("highest"):
        one = run(window=1)
        if guesses is None:
            wrong = np.random.default_rng(2).random((B, N)) < 1 / 10
            guesses = jnp.where(wrong, 0, one[1][:, -1])
        return one, run(guesses=guesses, window=W)


def codes(seed: int) -> jax.Array:
    """Codes i32[B,N] of pictures, the same few in long runs."""
    draw = np.random.default_rng(seed).integers(0, CONFIG.codes, (B, N // 4))
    return jnp.asarray(np.repeat(draw, 4, axis=1), jnp.int32)


def test_windows_give_the_tokens_of_one_after_another():
    """Over seeds, temperatures and rules, whose numbers do not compile again."""
    differ = turns = 0
    for case in range(24):
        draw = np.random.default_rng(case)
        sample = TokenSampleConfig(
            guidance=draw.uniform(1.5, 4),
            temperature=draw.choice([0.05, 0.3, 1.0]),
            top_k=int(draw.integers(1, 25)),
            top_p=draw.choice([0.7, 1.0]),
            min_p=draw.choice([0.0, 0.1]),
            guidance_until=int(draw.integers(-1, 8)),
        )
        method = TokenSampling(jnp.asarray(draw.integers(0, 99, B)), numbers_of(sample))
        one, several = both_ways(method, 2, codes(case))
        assert one[3] == several[0].position == N
        turns += several[3]
        differ += np.sum(one[1] != several[1])
        np.testing.assert_allclose(several[0].logits, one[0].logits, atol=1e-4)
    assert differ == 0 and turns < 0.75 * 24 * N


def test_two_paths_and_their_records_are_the_same_in_windows():
    # The paths share their noise, which at this temperature mostly decides.
    source, sample = codes(0), TokenSampleConfig(temperature=9.0, top_k=24)
    rows, seeds = layout("own", 2), jnp.arange(B)
    method = DualPathSampling(seeds, source, numbers_of(sample), 0.3, rows, ERecConfig())
    one, several = both_ways(method, 4, source)
    assert several[3] < N
    np.testing.assert_array_equal(several[1], one[1])
    for got, expected in zip(several[2], one[2], strict=True):
        assert got.shape == (B, N)
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_locked_tokens_are_run_in_full_windows():
    source, sample = codes(0), TokenSampleConfig()
    inner = TokenSampling(jnp.arange(B), numbers_of(sample))
    editable = jnp.zeros((B, N), bool).at[0, 6].set(True)
    method = LockedTokens(inner, source, editable)
    one, several = both_ways(method, 2, source, guesses=source)
    np.testing.assert_array_equal(several[1], one[1])
    locked = np.asarray(~editable)
    np.testing.assert_array_equal(np.asarray(several[1][:, 0])[locked], np.asarray(source)[locked])
    assert several[3] <= -(-N // W) + 1  # one window more at the token that is chosen


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scripted:
    """Tokens i32[B,N] that do not depend on logits; records the positions."""

    tokens: Any

    def __call__(self, logits, position):
        tokens = jnp.take_along_axis(self.tokens, position[:, None], axis=1, mode="clip")
        return jnp.broadcast_to(tokens, logits.shape[:2]), position


@pytest.mark.parametrize(
    ("wrong", "turns"),
    [
        (range(0), 4),  # 5 + 5 + 5 + 1
        (range(8, 9), 4),  # 5, then 3: the guess after them fails; 5 choices that were right; 3
        # 1 each in five turns, of which the second to fourth run a token alone, as half of the
        # latest guesses did not hold; then 4, 1 and 4 as choices are right where guesses were not.
        (range(N), 10),
    ],
)
def test_turns_by_hand(wrong, turns):
    tokens = jnp.tile(jnp.arange(N)[None], (B, 1))
    guesses = tokens.at[:, list(wrong)].add(1)
    one, several = both_ways(Scripted(tokens), 2, codes(0), guesses)
    np.testing.assert_array_equal(several[1][:, 0], tokens)
    np.testing.assert_array_equal(several[2], tokens)
    assert one[3] == N and several[3] == turns


def test_caches_that_are_too_short_are_refused():
    with pytest.raises(ValueError, match="22 slots: expected at least 23 for 17 steps, window 5"):
        text = jnp.zeros((B, 1, 3, 8))
        weights, prefix, state = begin(codes(0), text)
        token_loop.decode(weights, CONFIG, prefix, state, Scripted(codes(0)), steps=17, window=W)
