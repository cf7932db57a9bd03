"""A VQ tokenizer that encodes batches of pictures on all devices of this process."""

import functools
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8

from jaxedit.config import MeshConfig
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import codebook, image
from jaxedit.sharding import rules
from jaxedit.sharding.mesh import make_mesh
from jaxedit.tree import Tree


class Encoded(NamedTuple):
    """The codes of P pictures of each of B rows, and the latents that they are nearest to."""

    codes: Int32[np.ndarray, "B P N"]
    latents: Float32[np.ndarray, "B P N c"]


class PictureEncoder:
    """Encodes rows of pictures by one compiled program, in f32 as in training."""

    def __init__(self, tokenizer: VQTokenizer, params: Tree, rows_per_device: int) -> None:
        """Place the weights on the devices.

        Args:
          params: of `tokenizer`: arrays, or parameters in their files.
          rows_per_device: rows of a batch on each device.
        """
        self.config, self._tokenizer = tokenizer.config, tokenizer
        self.rows = rows_per_device * jax.local_device_count()  # of a batch
        self._mesh = make_mesh(MeshConfig(), jax.local_devices())
        read = {name: params[name] for name in ("encoder", "quant_conv", "codebook")}
        self._params = rules.place({"vq": read}, self._mesh)["vq"]

    @property
    def codebook(self) -> Float32[np.ndarray, "V c"]:
        """Return the entries of the codebook."""
        return np.asarray(self._params["codebook"])

    def __call__(self, pixels: UInt8[np.ndarray, "B P H W 3"]) -> Encoded:
        """Encode the pictures of `rows` rows."""
        placed = rules.to_global(pixels, self._mesh)
        return Encoded(*map(np.asarray, _encode(self._tokenizer, self._params, placed)))


@functools.partial(jax.jit, static_argnums=0)
def _encode(
    tokenizer: VQTokenizer, params: Tree, pixels: UInt8[Array, "B P H W 3"]
) -> tuple[Int32[Array, "B P N"], Float32[Array, "B P N c"]]:
    """Return codes and latents, row by row of their grids."""
    B, P = pixels.shape[:2]
    flat = image.to_float(pixels.reshape(B * P, *pixels.shape[2:]))  # [B*P,H,W,3]
    latents = tokenizer.apply({"params": params}, flat, method="encode")  # [B*P,h,w,c]
    codes = codebook.nearest_code(latents, params["codebook"], tokenizer.config.unit_norm)
    return codes.reshape(B, P, -1), latents.reshape(B, P, -1, latents.shape[-1])
