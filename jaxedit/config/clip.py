"""Settings of CLIP: two transformers, of pictures and of texts, that meet in one space."""

import dataclasses

from jaxedit.config.checks import require

ACTIVATIONS = ("quick_gelu", "gelu")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TowerConfig:
    """One of CLIP's two transformers. Defaults: the image tower of clip-vit-large-patch14."""

    layers: int = 24  # blocks
    width: int = 1024  # channels of a token
    heads: int = 16  # of attention
    mlp_hidden: int = 4096  # channels inside the MLP
    activation: str = "quick_gelu"  # x * sigmoid(1.702 x), as OpenAI trained; others: gelu
    norm_eps: float = 1e-5  # added to the variance in norms

    def validate(self, name: str) -> None:
        """Raise ConfigError for sizes that cannot work; `name` is the tower's."""
        for field in ("layers", "width", "heads", "mlp_hidden"):
            value = getattr(self, field)
            require(value > 0, f"{name}.{field}={value}: expected a positive number")
        require(
            self.width % self.heads == 0,
            f"{name}.width={self.width}: expected a multiple of {name}.heads={self.heads}",
        )
        require(
            self.activation in ACTIVATIONS,
            f"{name}.activation={self.activation!r}: expected one of {ACTIVATIONS}",
        )


def _text_tower() -> TowerConfig:
    return TowerConfig(layers=12, width=768, heads=12, mlp_hidden=3072)


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class CLIPConfig:
    """Contrastive image and text model. Defaults: clip-vit-large-patch14."""

    image: TowerConfig = dataclasses.field(default_factory=TowerConfig)
    text: TowerConfig = dataclasses.field(default_factory=_text_tower)
    patch: int = 14  # pixels per patch side
    grid: int = 16  # patches per side; pictures have no other size
    vocab_size: int = 49408  # entries of the text vocabulary
    max_text_tokens: int = 77  # longest text
    eos_id: int = 2  # the token that stands for a text; 2, in old configs, is its largest id
    projection_width: int = 768  # P, of the common space

    @property
    def pixels(self) -> int:
        """Side of a picture."""
        return self.patch * self.grid

    def validate(self) -> None:
        """Raise ConfigError for sizes that cannot work."""
        self.image.validate("clip.image")
        self.text.validate("clip.text")
        for name in ("patch", "grid", "vocab_size", "max_text_tokens", "projection_width"):
            value = getattr(self, name)
            require(value > 0, f"clip.{name}={value}: expected a positive number")
