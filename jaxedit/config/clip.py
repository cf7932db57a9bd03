"""Settings of CLIP: a transformer for images and a transformer for texts, with a common space."""

import dataclasses
from typing import Literal

from jaxedit.config.checks import require
from jaxedit.config.fields import Positive, PositiveInt, check_fields


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TowerConfig:
    """Settings of a transformer of CLIP. Defaults: the image tower of clip-vit-large-patch14."""

    layers: PositiveInt = 24  # blocks
    width: PositiveInt = 1024  # channels of a token
    heads: PositiveInt = 16  # of attention
    mlp_hidden: PositiveInt = 4096  # channels inside the MLP
    # quick_gelu: x * sigmoid(1.702 x), as OpenAI trained
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    norm_eps: Positive = 1e-5  # added to the variance in norms

    def validate(self, name: str) -> None:
        """Raise ConfigError for sizes that cannot work; `name` is the tower's."""
        check_fields(self, name)
        require(
            self.width % self.heads == 0,
            f"{name}.width={self.width}: expected a multiple of {name}.heads={self.heads}",
        )


def _text_tower() -> TowerConfig:
    return TowerConfig(layers=12, width=768, heads=12, mlp_hidden=3072)


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class CLIPConfig:
    """Contrastive image and text model. Defaults: clip-vit-large-patch14."""

    image: TowerConfig = dataclasses.field(default_factory=TowerConfig)
    text: TowerConfig = dataclasses.field(default_factory=_text_tower)
    patch: PositiveInt = 14  # pixels per patch side
    grid: PositiveInt = 16  # patches per side; pictures have no other size
    vocab_size: PositiveInt = 49408  # entries of the text vocabulary
    max_text_tokens: PositiveInt = 77  # longest text
    eos_id: int = 2  # the token that stands for a text; 2, in old configs, is its largest id
    projection_width: PositiveInt = 768  # P, of the common space

    @property
    def pixels(self) -> int:
        """Return the side of an image in pixels."""
        return self.patch * self.grid

    def validate(self) -> None:
        """Raise ConfigError for sizes that cannot work."""
        self.image.validate("clip.image")
        self.text.validate("clip.text")
        check_fields(self, "clip")
