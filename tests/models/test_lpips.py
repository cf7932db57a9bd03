import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import rng
from jaxedit.models.lpips import LPIPS

KEY = rng.key_for(0, "test")
SHIFT, SCALE = [-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]


def first_stage_params():
    """A network whose first stage passes the three colours on, and whose others are ignored."""
    x = jnp.zeros((1, 16, 16, 3))
    abstract = jax.eval_shape(LPIPS().init, KEY, x, x)["params"]
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), abstract)
    for j in range(2):
        kernel = params["vgg"][f"conv_0_{j}"]["kernel"]
        colour = jnp.arange(3)
        params["vgg"][f"conv_0_{j}"]["kernel"] = kernel.at[1, 1, colour, colour].set(1)
    params["weight_0"] = jnp.full(64, 0.5)
    return params


def picture(colour):
    """A flat picture whose normalised colour is `colour`."""
    pixel = jnp.array(SHIFT) + jnp.array(SCALE) * jnp.array(colour)
    return jnp.broadcast_to(pixel[None, None, None, :], (1, 16, 16, 3))


def test_distance_by_hand():
    params = first_stage_params()
    a, b = picture([2.0, 0.0, 0.0]), picture([0.0, 3.0, 0.0])
    apply = jax.jit(LPIPS().apply)
    distance = apply({"params": params}, jnp.concatenate([a, a]), jnp.concatenate([b, a]))
    np.testing.assert_allclose(distance, [0.5 * 2, 0], atol=1e-5)


def test_gradient_is_finite_at_equal_and_black_pictures():
    params, x = first_stage_params(), picture([0.0, 0.0, 0.0])
    gradient = jax.jit(jax.grad(lambda a: LPIPS().apply({"params": params}, a, x).sum()))(x)
    assert jnp.isfinite(gradient).all()
