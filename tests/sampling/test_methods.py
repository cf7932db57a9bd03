import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng
from jaxedit.config import SampleConfig, TokenSampleConfig
from jaxedit.sampling.methods import (
    RULES,
    BitSampling,
    TokenSampling,
    draw_uniforms,
    guide_bits,
    guide_tokens,
    is_guided,
    numbers_of,
    truncate,
    truncate_bits,
)

SEEDS = jnp.arange(3)


def token_method(greedy: bool = False, **settings) -> TokenSampling:
    """The method of three pictures; no guidance and all codes unless given."""
    settings = {"guidance": 1.0, "top_k": 12} | settings
    return TokenSampling(SEEDS, numbers_of(TokenSampleConfig(**settings)), greedy)


def random_logits(rows: int) -> jax.Array:
    """Logits f32[3,R,12]."""
    return jnp.asarray(np.random.default_rng(0).standard_normal((3, rows, 12), np.float32))


def log_odds(p: float) -> float:
    """Of a bit that is 1 with probability p."""
    return math.log(p / (1 - p))


def probability(odds, **numbers):
    """The probability of bit 1 after the rules."""
    numbers = {name: jnp.float32(value) for name, value in numbers.items()}
    return jax.nn.sigmoid(truncate_bits(jnp.asarray(odds, jnp.float32), numbers))


def draw_bits(odds, uniforms):
    """Bits that `BitSampling` draws without guidance and rules."""
    logits = jnp.stack([jnp.zeros_like(odds), odds], axis=-1)[None, None]  # [1,1,n,2]
    both = jnp.concatenate([logits, logits], axis=1)[..., None, :]  # [1,2,n,1,2]
    numbers = numbers_of(SampleConfig(guidance=1.0, temperature=1.0, top_p=1.0), 1)
    given = None if uniforms is None else (jnp.asarray(uniforms)[None, :, None],)
    bits, record = BitSampling(given, numbers)(both, 0)
    assert record is None and bits.shape == both.shape[:-1]
    np.testing.assert_array_equal(bits[:, 0], bits[:, 1])
    return bits[0, 0, :, 0]


def test_guidance_of_tokens_by_hand():
    rows = jnp.array([[[5.0], [3.0], [1.0]]])  # text and image, image, nothing
    on, off = jnp.array(True), jnp.array(False)
    assert guide_tokens(rows[:, :1], 3.0, 1.5, on) == 5
    assert guide_tokens(rows[:, :2], 3.0, 1.5, on) == 3 + 3 * 2
    assert guide_tokens(rows, 3.0, 1.5, on) == 1 + 1.5 * 2 + 3 * 2
    assert guide_tokens(rows, 3.0, 1.5, off) == 5


def test_guidance_stops_after_a_token_counted_from_the_second():
    guided = [bool(is_guided(position, 1)) for position in range(5)]
    assert guided == [True, True, True, False, False]
    assert is_guided(1000, -1)


def test_guidance_by_hand():
    # (3 * 2 - 2 * 1) / 0.5
    got = guide_bits(jnp.array([2.0]), jnp.array([1.0]), jnp.float32(3), jnp.float32(0.5))
    np.testing.assert_allclose(got, [8.0])


def test_guidance_one_is_the_conditional_branch():
    got = guide_bits(jnp.array([2.0]), jnp.array([1e6]), jnp.float32(1), jnp.float32(2))
    np.testing.assert_allclose(got, [1.0])


@pytest.mark.parametrize(
    "p, top_p, expected",
    [(0.02, 0.97, 0.0), (0.98, 0.97, 1.0), (0.04, 0.97, 0.04), (0.02, 1.0, 0.02), (0.4, 0.5, 0.0)],
)
def test_top_p_drops_the_unlikely_value(p, top_p, expected):
    np.testing.assert_allclose(probability(log_odds(p), top_p=top_p), expected, rtol=1e-5)


def release(l0: float, l1: float, top_p: float) -> float:
    """The probability of bit 1, by sorting as the release does."""
    values = np.array([l0, l1])
    order = np.argsort(values, kind="stable")  # ascending
    exponents = np.exp(values - values.max())
    sums = np.cumsum((exponents / exponents.sum())[order])
    is_removed = sums <= 1 - top_p
    is_removed[-1] = False  # the likeliest
    exponents[order[is_removed]] = 0
    return exponents[1] / exponents.sum()


@pytest.mark.parametrize("top_p", [1e-6, 0.1, 0.3, 0.5, 0.51, 0.7, 0.97, 1.0])
def test_top_p_keeps_the_likelier_value_as_the_release_does(top_p):
    p = np.concatenate([np.linspace(0.003, 0.997, 143), [0.5]])  # never where both rules meet
    both = np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=-1).astype(np.float32)
    got = np.asarray(probability(both[:, 1] - both[:, 0], top_p=top_p))
    np.testing.assert_allclose(got, [release(*pair, top_p) for pair in both], rtol=1e-5, atol=1e-6)
    likelier = np.where(both[:, 1] >= both[:, 0], got, 1 - got)
    assert (likelier >= 0.5).all() and (top_p > 0.5 or (likelier == 1).all())


def test_a_tie_as_in_the_release():
    assert probability(0.0, top_p=0.5) == 1
    assert probability(0.0, top_p=0.51) == 0.5


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.97, 1.0])
def test_no_logits_give_a_nan(top_p):
    sizes = jnp.array([0.0, 1e-30, 1.0, 88.0, 1e4, 3e38])
    one, zero = jnp.meshgrid(sizes, -sizes)
    for min_p in (0.0, 0.3, 1.0):
        got = probability(one - zero, top_p=top_p, min_p=min_p)
        assert ((got >= 0) & (got <= 1)).all()


@pytest.mark.parametrize("min_p", [1e-4, 0.05, 0.3, 0.9, 1.0])
def test_min_p_of_bits_keeps_a_share_of_the_likelier_value(min_p):
    p = np.linspace(0.003, 0.997, 143)
    share = np.minimum(p, 1 - p) / np.maximum(p, 1 - p)
    expected = np.where(share < min_p, p > 0.5, p)
    expected = np.where(p == 0.5, 0.5, expected)
    np.testing.assert_allclose(probability(np.log(p / (1 - p)), min_p=min_p), expected, atol=1e-6)


@pytest.mark.parametrize("min_p", [0.0, 1e-4, 0.05, 0.5, 1.0])
def test_min_p_of_tokens_keeps_a_share_of_the_likeliest(min_p):
    logits = 3 * np.random.default_rng(2).standard_normal((20, 33)).astype(np.float32)
    kept = np.asarray(truncate(jnp.asarray(logits), {"min_p": jnp.float32(min_p)}))
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    expected = (shares >= min_p) | (shares == 1)
    np.testing.assert_array_equal(kept > -np.inf, expected)
    np.testing.assert_array_equal(kept[expected], logits[expected])


def test_min_p_counts_what_the_rules_before_it_left():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    numbers = {"top_k": jnp.int32(2), "top_p": jnp.float32(1), "min_p": jnp.float32(0.2)}
    np.testing.assert_array_equal(truncate(logits, numbers) > -jnp.inf, [True, True, False, False])


def test_every_rule_is_a_setting_and_every_setting_a_rule():
    """A rule that is written is offered, recorded and applied: none of it is listed twice."""
    core = {"guidance", "guidance_mode", "image_guidance", "guidance_until", "temperature"}
    core |= {"greedy", "decode", "window"}
    for config in (SampleConfig, TokenSampleConfig):
        names = {field.name for field in dataclasses.fields(config)} - core
        rules = [rule for rule in RULES if issubclass(config, rule.settings)]
        assert names == {f.name for rule in rules for f in dataclasses.fields(rule.settings)}
        function = "bits" if config is SampleConfig else "tokens"
        assert all(hasattr(rule, function) for rule in rules)
        scales = 2 if config is SampleConfig else 0
        assert numbers_of(config(), scales).keys() >= names


def test_bits_are_drawn_below_their_probability():
    odds = jnp.full(2, log_odds(0.3))
    np.testing.assert_array_equal(draw_bits(odds, [0.29, 0.31]), [True, False])


def test_greedy_takes_the_likelier_value_and_zero_at_a_tie():
    odds = jnp.array([log_odds(p) for p in (0.6, 0.4, 0.5)])
    np.testing.assert_array_equal(draw_bits(odds, None), [True, False, False])


def test_extreme_logits_stay_finite():
    np.testing.assert_array_equal(probability([2e4, -2e4], top_p=1), [1.0, 0.0])


def test_uniforms_belong_to_seed_and_scale():
    keys = jnp.stack([rng.key_for(seed, "bits") for seed in (3, 4)])
    drawn = draw_uniforms(keys, ((1, 1), (1, 2)), 2)
    assert [u.shape for u in drawn] == [(2, 1, 2), (2, 2, 2)]
    expected = jax.random.uniform(jax.random.fold_in(keys[1], 1), (2, 2))
    np.testing.assert_array_equal(drawn[1][1], expected)


def test_all_rows_take_the_likeliest_token_of_the_guided_random_logits():
    x = random_logits(2)
    choose = jax.jit(lambda method, position: method(x, jnp.full(3, position)))
    tokens, record = choose(token_method(greedy=True, guidance=3.0), 0)
    expected = jnp.argmax(x[:, 1] + 3 * (x[:, 0] - x[:, 1]), axis=-1)
    np.testing.assert_array_equal(tokens, jnp.stack([expected, expected], 1))
    assert record is None
    late, _ = choose(token_method(greedy=True, guidance=3.0, guidance_until=4), 6)
    np.testing.assert_array_equal(late[:, 0], jnp.argmax(x[:, 0], axis=-1))


def test_one_candidate_is_greedy_and_many_depend_on_seed_and_position():
    x = jnp.tile(random_logits(1)[:1], (3, 1, 1))
    positions = jnp.repeat(jnp.arange(8)[:, None], 3, axis=1)
    draw = jax.jit(lambda method: jax.lax.map(lambda p: method(x, p)[0], positions))
    assert np.all(draw(token_method(top_k=1)) == jnp.argmax(x[0, 0]))
    assert np.all(draw(token_method(temperature=1e-3)) == jnp.argmax(x[0, 0]))
    drawn = np.asarray(draw(token_method(temperature=2.0)))[:, :, 0]  # [8,3]
    assert all(len(set(column)) > 1 for column in drawn.T)
    assert np.any(drawn[:, 0] != drawn[:, 1])
    np.testing.assert_array_equal(drawn, draw(token_method(temperature=2.0))[:, :, 0])
