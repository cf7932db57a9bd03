import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import TokenSampleConfig
from jaxedit.sampling import sample_editar
from jaxedit.sampling.sample_editar import EditPolicy, Sampling

SEEDS = jnp.arange(3)


def policy(greedy: bool = False, **settings) -> EditPolicy:
    """The policy of three pictures; no guidance and all codes unless given."""
    settings = {"guidance": 1.0, "top_k": 12} | settings
    return EditPolicy(SEEDS, Sampling.of(TokenSampleConfig(**settings)), greedy)


def logits(rows: int) -> jax.Array:
    """Logits f32[3,R,12]."""
    return jnp.asarray(np.random.default_rng(0).standard_normal((3, rows, 12), np.float32))


def test_guidance_stops_after_a_token_counted_from_the_second():
    guided = [bool(sample_editar.is_guided(position, 1)) for position in range(5)]
    assert guided == [True, True, True, False, False]
    assert sample_editar.is_guided(1000, -1)


@pytest.mark.parametrize(
    "settings, rows",
    [
        ({}, (0, None)),
        ({"guidance": 1.0}, (0,)),
        ({"guidance": 0.5}, (0,)),
        ({"guidance": -2.0, "guidance_mode": "joint"}, (0,)),
        ({"guidance_mode": "joint"}, (0, None)),
        ({"guidance_mode": "dual", "guidance": 1.0}, (0, None, None)),
    ],
)
def test_rows_of_a_picture(settings, rows):
    assert sample_editar.text_rows(TokenSampleConfig(**settings)) == rows


def test_all_rows_take_the_likeliest_token_of_the_guided_logits():
    x = logits(2)
    choose = jax.jit(lambda policy, position: policy(x, position))
    tokens, record = choose(policy(greedy=True, guidance=3.0), 0)
    expected = jnp.argmax(x[:, 1] + 3 * (x[:, 0] - x[:, 1]), axis=-1)
    np.testing.assert_array_equal(tokens, jnp.stack([expected, expected], 1))
    assert record is None
    late, _ = choose(policy(greedy=True, guidance=3.0, guidance_until=4), 6)
    np.testing.assert_array_equal(late[:, 0], jnp.argmax(x[:, 0], axis=-1))


def test_one_candidate_is_greedy_and_many_depend_on_seed_and_position():
    x = jnp.tile(logits(1)[:1], (3, 1, 1))
    draw = jax.jit(lambda policy: jax.lax.map(lambda p: policy(x, p)[0], jnp.arange(8)))
    assert np.all(draw(policy(top_k=1)) == jnp.argmax(x[0, 0]))
    assert np.all(draw(policy(temperature=1e-3)) == jnp.argmax(x[0, 0]))
    drawn = np.asarray(draw(policy(temperature=2.0)))[:, :, 0]  # [8,3]
    assert all(len(set(column)) > 1 for column in drawn.T)
    assert np.any(drawn[:, 0] != drawn[:, 1])
    np.testing.assert_array_equal(drawn, draw(policy(temperature=2.0))[:, :, 0])
