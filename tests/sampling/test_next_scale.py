import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.varedit import VAREdit
from jaxedit.ops import quantize
from jaxedit.sampling import next_scale


def run(case, name: str, *, rows=(0,), **changes):
    """Decode the golden run `name` with its recorded uniforms; `rows` repeats samples."""
    settings = case.description[name] | changes
    arrays, config = case.arrays, case.config
    samples = [settings["sample"] if r == 0 else r for r in rows]
    uniforms = None
    if settings["top_k"] != 1:
        K = len(config.scales)
        uniforms = [jnp.stack([jnp.asarray(arrays[f"{name}.u.{k}"])] * len(rows)) for k in range(K)]
    top_p = jnp.float32(settings["top_p"] or 1.0)

    def decode(params, inputs, settings, uniforms):
        return next_scale.decode(
            VAREdit(config),
            params,
            inputs,
            settings,
            uniforms,
            scales=config.scales,
            rope_scales=config.rope_scales,
        )

    inputs = (case.text[samples], case.text_mask[samples], arrays["bsc.src_tokens"][samples])
    guidance, temperature = jnp.array(settings["cfg"]), jnp.array(settings["tau"])
    return jax.jit(decode)(case.params, inputs, (guidance, temperature, top_p), uniforms)


@pytest.mark.parametrize("name", ["infer_argmax", "infer_sample"])
def test_bits_and_feature_match_release(varedit_case, name):
    bits, feature = run(varedit_case, name)
    for k, (got, size) in enumerate(zip(bits, varedit_case.config.latent_scales, strict=True)):
        grid = quantize.to_grid(got, size, varedit_case.config.patchify)[0]
        expected = varedit_case.arrays[f"{name}.bits.{k}"].astype(bool)
        np.testing.assert_array_equal(grid, expected, err_msg=f"scale {k}")
    summed = varedit_case.arrays[f"{name}.summed_codes"].transpose(1, 2, 0)
    np.testing.assert_allclose(feature[0], summed, atol=1e-5)
