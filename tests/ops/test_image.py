import jax.numpy as jnp
import numpy as np

from jaxedit.ops.image import to_float, to_nearest_uint8, to_uint8


def test_range_by_hand():
    np.testing.assert_array_equal(to_float(jnp.array([0, 255], jnp.uint8)), [-1, 1])
    values = jnp.array([-3.0, -1.0, 0.0, 0.999, 1.0, 7.0])
    np.testing.assert_array_equal(to_uint8(values), [0, 0, 127, 254, 255, 255])


def test_round_trip_loses_at_most_one_level():
    levels = jnp.arange(256, dtype=jnp.uint8)
    back = np.array(to_uint8(to_float(levels))).astype(int)
    assert np.isin(levels - back, [0, 1]).all()


def test_bytes_match_the_release(golden):
    arrays, _ = golden("bsq_tokenizer_d32like")
    np.testing.assert_array_equal(
        to_uint8(jnp.asarray(arrays["img.decoded"])), arrays["img.decoded_u8"]
    )


def test_rounding_undoes_the_conversion():
    levels = jnp.arange(256, dtype=jnp.uint8)
    np.testing.assert_array_equal(to_nearest_uint8(to_float(levels)), levels)
    np.testing.assert_array_equal(to_nearest_uint8(jnp.array([-3.0, 0.999, 7.0])), [0, 255, 255])
