"""The networks that scores use, with jitted functions on batches of pictures and texts.

All run in float32 at the highest precision of matrix products: published numbers were computed so.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float32, Shaped, UInt8
from PIL import Image

from jaxedit import tree
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import ConfigError, PretrainedConfig, require
from jaxedit.convert.check import statistics
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.text_tokenizer import FILES, TextTokenizer
from jaxedit.models.clip import CLIP
from jaxedit.models.inception import Inception
from jaxedit.models.lpips import LPIPS
from jaxedit.models.vit import ViT

BATCH = 8  # rows of a call of a compiled function
# Of the pixels that CLIP was trained on.
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
CLIP_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

Pictures = Float[ArrayLike, "B H W 3"]
Program = Callable[..., Array]  # jitted: parameters, then arrays of BATCH rows


class MissingNetwork(ConfigError):
    """A network is not on this machine; the message says how to bring it, in one line."""


class Network:
    """A network on the device, by its settings and parameters.

    Functions take any number of rows, and are compiled once for each size of pictures.

    Attributes:
      sha256: of the parameters, as `python -m jaxedit.convert --check` prints it.
    """

    kind: ClassVar[str]  # part of `PretrainedConfig`, and first component of parameter paths

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree,
        *,
        sha256: str = "",
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        """Move the parameters of the network to the device."""
        self.config, self.sha256 = getattr(config, self.kind), sha256
        self._variables = {"params": jax.tree.map(jnp.asarray, params)}
        self._tokenizer = tokenizer

    def _run(
        self, program: Program, *inputs: Shaped[ArrayLike, "B ..."]
    ) -> Float32[np.ndarray, "B ..."]:
        """Run a jitted program on at least one row, `BATCH` rows at a time, the last filled up."""
        found, rows = [], len(inputs[0])
        for start in range(0, rows, BATCH):
            parts = [np.asarray(array[start : start + BATCH]) for array in inputs]
            fill = [[(0, BATCH - len(p))] + [(0, 0)] * (p.ndim - 1) for p in parts]
            parts = [np.pad(p, widths) for p, widths in zip(parts, fill, strict=True)]
            with jax.default_matmul_precision("highest"):
                found.append(np.asarray(program(self._variables, *parts)))
        return np.concatenate(found)[:rows]


class LPIPSNetwork(Network):
    """The learned perceptual distance of pictures."""

    kind = "lpips"

    @functools.cached_property
    def _distance(self) -> Program:
        apply = LPIPS(self.config.backbone).apply
        return jax.jit(lambda variables, a, b: apply(variables, 2 * a - 1, 2 * b - 1))

    def lpips(self, a: Pictures, b: Pictures) -> Float32[np.ndarray, " B"]:
        """Return the distances of pictures in [0,1]."""
        return self._run(self._distance, a, b)


class DINONetwork(Network):
    """A vision transformer; pictures are resized and normalised already."""

    kind = "vit"

    @functools.cached_property
    def _keys(self) -> Program:
        apply = ViT(self.config).apply
        return jax.jit(lambda variables, x: apply(variables, x, with_keys=True)[1])

    @functools.cached_property
    def _class(self) -> Program:
        apply = ViT(self.config).apply
        return jax.jit(lambda variables, x: apply(variables, x)[:, 0])

    def keys(self, pixels: Pictures) -> Float32[np.ndarray, "B S D"]:
        """Return the last layer's keys of the class token and the patches, heads side by side."""
        return self._run(self._keys, pixels)

    def class_feature(self, pixels: Pictures) -> Float32[np.ndarray, "B D"]:
        """Return the class token's feature after the last norm."""
        return self._run(self._class, pixels)


class CLIPNetwork(Network):
    """Features of pictures and texts in a common space; their lengths are not 1."""

    kind = "clip"

    @functools.cached_property
    def _image(self) -> Program:
        return jax.jit(functools.partial(CLIP(self.config).apply, method="encode_image"))

    @functools.cached_property
    def _text(self) -> Program:
        return jax.jit(functools.partial(CLIP(self.config).apply, method="encode_text"))

    def image_features(
        self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]
    ) -> Float32[np.ndarray, "B D"]:
        """Return features of pictures of any sizes."""
        side = self.config.pixels
        return self._run(self._image, np.stack([clip_pixels(p, side) for p in pictures]))

    def text_features(self, texts: Sequence[str]) -> Float32[np.ndarray, "B D"]:
        """Return features of texts.

        A text that is too long loses its last tokens, its end too, as in torchmetrics.
        """
        length = self.config.max_text_tokens
        ids = np.zeros((len(texts), length), np.int32)
        mask = np.zeros((len(texts), length), bool)
        for row, text in enumerate(texts):
            tokens = self._tokenizer.encode(text)[:length]
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, True
        return self._run(self._text, ids, mask)


class InceptionNetwork(Network):
    """The features of FID."""

    kind = "inception"

    @functools.cached_property
    def _features(self) -> Program:
        return jax.jit(lambda variables, x: Inception().apply(variables, (x - 128) / 128))

    def pool_features(
        self, pixels: Float[ArrayLike, "B 299 299 3"]
    ) -> Float32[np.ndarray, "B 2048"]:
        """Return features of pictures in 0..255."""
        return self._run(self._features, pixels)


# Official name (`config.OFFICIAL`: files, places, licences) -> class
NETWORKS: dict[str, type[Network]] = {
    "lpips-squeeze": LPIPSNetwork,
    "dino-vitb8": DINONetwork,
    "dino-vits16": DINONetwork,
    "clip-vit-large-patch14": CLIPNetwork,
    "clip-vit-base-patch32": CLIPNetwork,
    "clip-vit-base-patch16": CLIPNetwork,
    "inception": InceptionNetwork,
}


def load(name: str, *, directory: str | os.PathLike | None = None) -> Network:
    """Return a network of `NETWORKS`; what the Hub has is fetched and converted on first use.

    Args:
      directory: pretrained directory, if it does not lie where conversion puts it.

    Raises:
      MissingNetwork: the network is not there.
      ConfigError: an unknown name, or the directory holds another network.
      ValueError, OSError: a file is damaged or cannot be read.
    """
    require(name in NETWORKS, f"network {name!r}: expected one of {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    try:
        where = ensure_converted(directory or name)
    except FileNotFoundError as error:
        raise MissingNetwork(str(error)) from error
    config, stored, where = open_params(where, [network.kind])
    flat = tree.flatten(stored)
    rounded = {str(array.dtype) for array in flat.values()} - {"float32"}
    require(
        not rounded, f"{where}: weights in {', '.join(rounded)}: expected float32 (--dtype=f32)"
    )
    has_tokenizer = any((where / file).is_file() for file in FILES)
    return network(
        config,
        jax.tree.map(np.asarray, stored[network.kind]),
        sha256=statistics(dict(sorted(flat.items())), lambda count: None).digest,
        **({"tokenizer": TextTokenizer.load(where)} if has_tokenizer else {}),
    )


def clip_pixels(
    picture: UInt8[np.ndarray, "H W 3"], side: int
) -> Float32[np.ndarray, "{side} {side} 3"]:
    """Return the normalised middle square of a picture, as CLIP's processor with PIL makes it."""
    image, (height, width) = Image.fromarray(picture), picture.shape[:2]
    short = min(height, width)
    height, width = side * height // short, side * width // short
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    square = np.asarray(image.crop((left, top, left + side, top + side)), np.float32)
    return (square / 255 - CLIP_MEAN) / CLIP_DEVIATION
