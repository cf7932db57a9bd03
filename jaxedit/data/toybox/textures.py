"""Textures of backgrounds: tiles of noise, in which a seed chooses a window.

A tile is periodic, so that windows may start anywhere. Tiles are made once; a window is a copy.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16, Integer

SIDE = 256  # pixels, period of a tile
TILES = 4  # per texture
MAX_OFFSET = 42  # grey levels, largest value of a window
_REACH = 160  # pixels, largest side of a window
_CLIP = 3.0  # standard deviations

Noise = Float[np.ndarray, "256 256"]


def window(
    name: str,
    seed: int,
    *,
    top: int,
    left: int,
    height: int,
    width: int,
) -> Integer[np.ndarray, "{height} {width} 3"]:
    """Return the numbers, in grey levels, that a texture adds to a colour.

    Args:
      name: a key of `TEXTURES`.
      seed: chooses one of 262,144 places in the texture's tiles.
      top, left: first row and column of the window; windows of a seed show parts of one picture.
      height, width: at most 160.
    """
    seed, y = divmod(seed, SIDE)
    seed, x = divmod(seed, SIDE)
    y, x = (y + top) % SIDE, (x + left) % SIDE
    return _tiles(name)[seed % TILES, y : y + height, x : x + width]


@functools.cache
def _tiles(name: str) -> Int16[np.ndarray, "4 416 416 3"]:
    texture = TEXTURES[name]
    rng = np.random.default_rng(list(name.encode()))
    tiles = np.stack([_standard(texture.draw(rng)) for _ in range(TILES)])
    tiles = np.pad(tiles.clip(-_CLIP, _CLIP), ((0, 0), (0, _REACH), (0, _REACH)), mode="wrap")
    tiles = np.rint(tiles[..., None] * np.array(texture.spread)[None, None, None]).astype(np.int16)
    tiles.setflags(write=False)
    return tiles


def _standard(noise: Noise) -> Noise:
    return (noise - noise.mean()) / noise.std()


def _octaves(
    rng: np.random.Generator,
    wavelengths: tuple[int, ...],
    *,
    tall: float = 1.0,
    wide: float = 1.0,
) -> Noise:
    """Draw a sum of smooth noise of several wavelengths, in pixels; the longest is the strongest.

    Args:
      tall, wide: how much longer waves are from top to bottom, and from left to right.
    """
    f = np.fft.fftfreq(SIDE)
    squared = np.square(f * tall)[:, None] + np.square(f * wide)[None, :]
    total = np.zeros((SIDE, SIDE))
    for wavelength in wavelengths:
        white = np.fft.fft2(rng.standard_normal((SIDE, SIDE)))
        smooth = np.fft.ifft2(white * np.exp(-squared * wavelength**2)).real
        total += wavelength**0.5 * _standard(smooth)
    return _standard(total)


def _clouds(rng: np.random.Generator) -> Noise:
    """Draw white heaps on an even sky."""
    return np.tanh(1.5 * np.maximum(_octaves(rng, (6, 12, 24), wide=1.8), -0.4))


def _wood(rng: np.random.Generator) -> Noise:
    """Draw lines of a period of eight pixels, which wind along the grain."""
    lines = np.arange(SIDE)[:, None] / 8 + 0.5 * _octaves(rng, (16, 32), wide=3)
    return np.sin(2 * np.pi * lines) + 0.6 * _octaves(rng, (4, 8), wide=5)


class Texture(NamedTuple):
    """A texture: how a tile is drawn, and its standard deviation in red, green and blue."""

    draw: Callable[[np.random.Generator], Noise]
    spread: tuple[float, float, float]  # grey levels, at most 14


TEXTURES = {
    "noise": Texture(lambda rng: _octaves(rng, (4, 8, 16, 32)), (8, 8, 14)),
    "clouds": Texture(_clouds, (14, 9, 2)),
    "grass": Texture(lambda rng: _octaves(rng, (3, 6, 24), tall=2.5), (9, 12, 8)),
    "paper": Texture(lambda rng: _octaves(rng, (4, 8, 16)), (7, 7, 8)),
    "wood": Texture(_wood, (12, 10, 8)),
}
