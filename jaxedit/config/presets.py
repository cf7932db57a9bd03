"""The named sizes of the models."""

from typing import Any

from jaxedit.config.checks import require
from jaxedit.config.models import BSQConfig, PretrainedConfig, T5Config, VAREditConfig
from jaxedit.config.sampling import ERecConfig, SampleConfig, TokenSampleConfig
from jaxedit.config.tokens import EditARConfig, VQConfig

# The two published transformers (Infinity 2B and 8B), and the bundled transformer.
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

# EditAR as released, and the bundled model.
EDITAR_PRESETS: dict[str, PretrainedConfig] = {
    "xl": PretrainedConfig(
        model_type="editar",
        editar=EditARConfig(),
        vq=VQConfig(),
        t5=T5Config(),
        token_sample=TokenSampleConfig(),
        erec=ERecConfig(),
    ),
    "tiny": PretrainedConfig(
        model_type="editar",
        editar=EditARConfig(
            layers=6,
            width=192,
            heads=6,
            mlp_hidden=512,
            codes=2048,
            grid=8,
            text_tokens=29,  # the longest caption of level 0
            text_width=128,
            prompts="toy",
            distill_width=64,
            rope_base=10.0,  # of a small grid: 10000 would leave most pairs unturned
            dropout=0.0,
            token_dropout=0.0,
        ),
        vq=VQConfig(
            codes=2048, base_channels=24, channel_mult=(1, 1, 2, 4), res_blocks=1, latent_width=96
        ),
        t5=T5Config(vocab_size=256, width=128, head_width=32, mlp_hidden=256, layers=2, heads=4),
        token_sample=TokenSampleConfig(guidance=1.5, top_k=32),
        erec=ERecConfig(),
    ),
}

# LlamaGen's sizes: layers, width, heads, hidden width of the MLP.
LLAMAGEN_SIZES = {
    "b": (12, 768, 12, 2048),
    "l": (24, 1024, 16, 2816),
    "xl": (36, 1280, 20, 3584),
    "xxl": (48, 1536, 24, 4096),
    "xxxl": (48, 2560, 40, 6912),
    "1b": (22, 2048, 32, 5632),
    "3b": (24, 3200, 32, 8704),
    "7b": (32, 4096, 32, 11008),
}


def llamagen(size: str, *, prefix: str = "text", grid: int = 16) -> EditARConfig:
    """Return LlamaGen's transformer of a published size, a key of `LLAMAGEN_SIZES`.

    Args:
      prefix: "text" (text to image) or "class" (ImageNet's 1000 classes).
      grid: side of the image in tokens; 16 is 256 px, 32 is 512 px with VQ-16.

    Raises:
      ConfigError: there is no such size.
    """
    layers, width, heads, mlp_hidden = pick_preset(LLAMAGEN_SIZES, size)
    return EditARConfig(
        layers=layers,
        width=width,
        heads=heads,
        mlp_hidden=mlp_hidden,
        grid=grid,
        prefix=prefix,
        classes=1000 if prefix == "class" else 0,
        distill_width=0,
    )


def pick_preset(presets: dict[str, Any], name: str) -> Any:
    """Return the preset called `name`; raise ConfigError with the known names if there is none."""
    require(name in presets, f"unknown preset {name!r}: expected one of {', '.join(presets)}")
    return presets[name]
