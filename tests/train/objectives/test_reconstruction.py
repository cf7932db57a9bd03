import jax.numpy as jnp
import numpy as np

from jaxedit.config import DataConfig, PretrainedConfig, TrainConfig, VQConfig, VQTrainConfig
from jaxedit.data.batch import EditBatch
from jaxedit.train.objectives.reconstruction import discriminator_loss, pixels_of, psnr
from jaxedit.train.objectives.vq import VQObjective


def test_pixel_losses_by_hand():
    settings = VQTrainConfig(mse_weight=2.0, l1_weight=3.0)
    model = PretrainedConfig(model_type="vq", vq=VQConfig())
    objective = VQObjective(TrainConfig(model=model, vq=settings, data=DataConfig(image_size=64)))
    assert objective.frozen() == {}
    x = jnp.zeros((1, 2, 2, 3))
    total, metrics = objective.reconstruction_loss({}, {}, x + 0.5, x, 0)
    np.testing.assert_allclose(total, 2 * 0.25 + 3 * 0.5)
    assert set(metrics) == {"l1", "mse", "psnr"}


def test_psnr_by_hand():
    a = jnp.array([0.5, 3.0])  # clamped to 1
    np.testing.assert_allclose(psnr(a, jnp.array([0.3, 1.0])), 23.0103, atol=1e-3)


def test_hinge_and_lecam_by_hand():
    real, fake = jnp.array([2.0, 0.0]), jnp.array([-0.5, -0.5])
    loss = discriminator_loss(real, fake, lecam=0.1)
    np.testing.assert_allclose(loss, (0.5 + 0.5) / 2 + 0.1 * (0.9**2 + 0.4**2), rtol=1e-6)


def test_pixels_alternate():
    images = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 4, 3)).astype(np.uint8)
    ids = np.zeros((2, 2), np.int32)
    pixels = pixels_of(EditBatch(images[0], images[1], ids, ids == 0, None))
    assert pixels.shape == (4, 4, 4, 3) and jnp.abs(pixels).max() <= 1
    np.testing.assert_allclose(pixels[1], images[1, 0] / 127.5 - 1, atol=1e-6)
