"""Settings of networks that only scores and losses use."""

import dataclasses
from typing import Literal

from jaxedit.config.fields import check_fields


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class LPIPSConfig:
    """Learned perceptual distance of two pictures."""

    backbone: Literal["vgg", "squeeze"] = "squeeze"  # losses: vgg; PIE-Bench: squeeze

    def validate(self) -> None:
        """Raise ConfigError for an unknown backbone."""
        check_fields(self, "lpips")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class InceptionConfig:
    """Inception v3 of FID, which has a single size."""

    def validate(self) -> None:
        """Accept the config."""
