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


def convolve(x, kernel, bias):
    """A 3 x 3 convolution of f64[H,W,C] with zeros around it, as nine shifted products; ReLU."""
    H, W, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    shifted = ((padded[i : i + H, j : j + W], kernel[i, j]) for i in range(3) for j in range(3))
    return np.maximum(sum(part @ weights for part, weights in shifted) + bias, 0)


def lpips(a, b, params):
    """Equation 1 of Zhang et al. 2018, in f64: sum_l mean_hw |w_l * (y_hw - y0_hw)|^2."""
    total, pictures = 0.0, [(x - np.array(SHIFT)) / np.array(SCALE) for x in (a, b)]
    for i, depth in enumerate((2, 2, 3, 3, 3)):
        units = []
        for k, x in enumerate(pictures):
            if i:
                x = x.reshape(len(x) // 2, 2, -1, 2, x.shape[-1]).max(axis=(1, 3))
            for j in range(depth):
                layer = params["vgg"][f"conv_{i}_{j}"]
                x = convolve(x, np.float64(layer["kernel"]), np.float64(layer["bias"]))
            pictures[k] = x
            units.append(x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10))
        weighted = (units[0] - units[1]) ** 2 @ np.float64(params[f"weight_{i}"])
        total += weighted.mean()
    return total


def test_random_weights_by_an_independent_formula():
    generator = np.random.default_rng(0)
    a, b = generator.uniform(-1, 1, (2, 32, 48, 3))
    b = 0.5 * a + 0.5 * b
    x = jnp.zeros((1, 32, 48, 3))
    abstract = jax.eval_shape(LPIPS().init, KEY, x, x)["params"]

    def draw(leaf):
        """Kernels that keep the size of activations; biases of both signs; positive weights."""
        if len(leaf.shape) == 1:
            return generator.uniform(0, 0.1, leaf.shape).astype(np.float32)
        size = np.sqrt(2 / np.prod(leaf.shape[:3]))
        return generator.normal(0, size, leaf.shape).astype(np.float32)

    params = jax.tree.map(draw, abstract)
    for i, depth in enumerate((2, 2, 3, 3, 3)):
        for j in range(depth):
            params["vgg"][f"conv_{i}_{j}"]["bias"] -= 0.05
    pictures = [jnp.asarray(x, jnp.float32)[None] for x in (a, b)]
    distance = jax.jit(LPIPS().apply)({"params": params}, *pictures)
    expected = lpips(a, b, params)
    assert expected > 0.01
    np.testing.assert_allclose(distance, [expected], rtol=1e-5)


def test_gradient_is_finite_at_equal_and_black_pictures():
    params, x = first_stage_params(), picture([0.0, 0.0, 0.0])
    gradient = jax.jit(jax.grad(lambda a: LPIPS().apply({"params": params}, a, x).sum()))(x)
    assert jnp.isfinite(gradient).all()
