"""The named sizes."""

from typing import Any

from jaxedit.config.checks import require
from jaxedit.config.models import (
    BSQConfig,
    PretrainedConfig,
    SampleConfig,
    T5Config,
    VAREditConfig,
)

# The two published transformers (spec: Infinity 2B and 8B) and the one that is bundled.
PRESETS: dict[str, PretrainedConfig] = {
    "2b": PretrainedConfig(
        varedit=VAREditConfig(), bsq=BSQConfig(), t5=T5Config(), sample=SampleConfig()
    ),
    "8b": PretrainedConfig(
        varedit=VAREditConfig(
            depth=40, width=3584, heads=28, mlp_hidden=14336, bits=14, patchify=True
        ),
        bsq=BSQConfig(bits=14, stride=8, channel_mult=(1, 2, 4, 4)),
        t5=T5Config(),
        sample=SampleConfig(),
    ),
    "tiny": PretrainedConfig(
        varedit=VAREditConfig(
            depth=6,
            width=128,
            heads=4,
            mlp_hidden=512,
            bits=16,
            text_width=64,
            text_pool_heads=4,
            max_text_tokens=32,
            rope_mode="grid",
            scales=((1, 1), (2, 2), (4, 4), (8, 8)),
            drop_path=0.0,
        ),
        bsq=BSQConfig(bits=16, stride=8, base_channels=24, channel_mult=(1, 1, 2, 4), res_blocks=1),
        t5=T5Config(vocab_size=256, width=64, head_width=16, mlp_hidden=128, layers=2, heads=4),
        sample=SampleConfig(guidance=1.5, temperature=0.2, top_p=1.0),
    ),
}


def pick_preset(presets: dict[str, Any], name: str) -> Any:
    """The preset called `name`; ConfigError with the known names if there is none."""
    require(name in presets, f"unknown preset {name!r}: expected one of {', '.join(presets)}")
    return presets[name]
