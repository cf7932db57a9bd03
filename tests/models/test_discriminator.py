import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import rng, tree
from jaxedit.models.discriminator import BatchNorm, Discriminator

KEY = rng.key_for(0, "test")


@pytest.mark.parametrize("size, scores", [((64, 64), (6, 6)), ((32, 48), (2, 4))])
def test_one_score_per_patch(size, scores):
    model = Discriminator(channels=8)
    x = jnp.zeros((2, *size, 3))
    out, _ = jax.eval_shape(lambda: model.init_with_output(KEY, x))
    assert out.shape == (2, *scores, 1)


def test_published_size():
    params = jax.eval_shape(Discriminator().init, KEY, jnp.zeros((1, 64, 64, 3)))["params"]
    kernels = 16 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024 + 1024)
    assert tree.count(params) == kernels + 128 + 2 * (256 + 512 + 1024) + 1


def test_batch_norm_by_hand():
    x = jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    params = {"scale": jnp.array([2.0]), "bias": jnp.array([5.0])}
    out = BatchNorm().apply({"params": params}, x)
    np.testing.assert_allclose(out.ravel(), [3, 7], atol=1e-4)


def test_too_small_pictures_are_refused():
    with pytest.raises(ValueError, match="picture 16x64: expected at least 24x24"):
        Discriminator().init(KEY, jnp.zeros((1, 16, 64, 3)))
