import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ops.teacher import MEAN, STD, VIEWS, imagenet_normalise, teacher_pixels


def test_equals_the_processor_of_the_release(golden):
    arrays, description = golden("dinov2_teacher_preprocess")
    pixels = jnp.asarray(arrays["in/image_nhwc_01"]) * 2 - 1
    out = teacher_pixels(pixels, "resize256_crop224", 28).transpose(0, 3, 1, 2)
    tolerance = description["tolerance"]["torchvision"]
    np.testing.assert_allclose(out, arrays["out/pixel_values_torchvision"], atol=tolerance)


def test_white_by_hand():
    out = teacher_pixels(jnp.ones((1, 64, 64, 3)), "resize224", 28)
    assert out.shape == (1, 28, 28, 3)
    expected = (1 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(out[0, 13, 13], expected, atol=1e-5)


def test_the_crop_is_the_middle_of_seven_eighths():
    ramp = jnp.broadcast_to(jnp.linspace(-1, 1, 256)[None, None, :, None], (1, 256, 256, 3))
    whole, middle = (teacher_pixels(ramp, view, 224)[0, 0, :, 0] for view in reversed(VIEWS))
    black, white = imagenet_normalise(
        jnp.array([0.0, 1.0])[None, None, :, None] * jnp.ones(3)[None, None, None]
    )[0, 0, :, 0]
    np.testing.assert_allclose(whole[jnp.array([0, -1])], [black, white], atol=0.01)
    at = (middle[jnp.array([0, -1])] - black) / (white - black)
    np.testing.assert_allclose(at, [1 / 16, 15 / 16], atol=0.005)


def test_unknown_view():
    with pytest.raises(ValueError, match="teacher_view='crop': expected one of resize256_crop224"):
        teacher_pixels(jnp.zeros((1, 8, 8, 3)), "crop", 8)
