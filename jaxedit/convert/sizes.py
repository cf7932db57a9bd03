"""The sizes of a network, from the shapes of its parameters and the settings of its file.

A file's settings are Hugging Face's config.json or the arguments of the run. For sizes that neither
shapes nor settings tell, the release's values are taken: see `config_of` of each key map.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxedit.config import require

Settings = Mapping[str, Any]

# Width -> heads of the released vision transformers and of both of OpenAI's towers.
HEADS = {384: 6, 512: 8, 768: 12, 1024: 16}
ADVICE = "write it to a config.json beside the file"


class Shapes(dict[str, tuple[int, ...]]):
    """The shapes of the parameters of a network, by path."""

    def __missing__(self, path: str) -> tuple[int, ...]:
        """Raise ValueError: no key of the state dict became `path`."""
        raise ValueError(f"no key becomes {path}")

    def count(self, template: str) -> int:
        """Count the parameters whose path is `template` with the number 0, 1, 2, ..."""
        number = 0
        while template.format(number) in self:
            number += 1
        return number


def setting(settings: Settings, name: str, default: Any) -> Any:
    """Return a setting of the file, which must have the type of `default`.

    Raises:
      ConfigError: it has another type.
    """
    value = settings.get(name)
    if value is None:
        return default
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    expected = type(default).__name__
    require(type(value) in kinds, f"{name}={value!r} in the file's settings: expected {expected}")
    return value


def heads_of(settings: Settings, width: int) -> int:
    """Return the attention heads of a vision or text transformer.

    Raises:
      ConfigError: neither the settings nor a release of this width tells them.
    """
    heads = setting(settings, "num_attention_heads", HEADS.get(width, 0))
    require(
        heads > 0,
        f"width {width} is no released size, and weights do not tell the number of heads: {ADVICE},"
        ' {"num_attention_heads": ...}',
    )
    return heads


def side_of(positions: int) -> int:
    """Return the side of a square grid; ConfigError if `positions` is no square."""
    side = math.isqrt(max(positions, 0))
    require(side * side == positions, f"{positions} positions: expected a square number")
    return side


def levels_of(shapes: Shapes) -> dict[str, Any]:
    """Return the channels and residual blocks of an image tokenizer's levels.

    Raises:
      ConfigError: a level's channels are no multiple of the first convolution's.
    """
    base, first = shapes["encoder/conv_in/kernel"][3], "encoder/down_{}_block_0/conv1/kernel"
    channels = [shapes[first.format(n)][3] for n in range(shapes.count(first))]
    require(
        all(c % base == 0 for c in channels),
        f"levels of {channels} channels: expected multiples of {base}",
    )
    return {
        "base_channels": base,
        "channel_mult": tuple(c // base for c in channels),
        "res_blocks": shapes.count("encoder/down_0_block_{}/conv1/kernel"),
    }
