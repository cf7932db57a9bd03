"""The image tokenizer of VAREdit: multi-scale residual binary spherical quantisation (BitVAE).

    python -m jaxedit.train --config=configs/tokenizer_bsq.py

Presets:
  tiny   16 bits, stride 8, 64 px toy scenes, 1.5 M parameters. Two idle CPU cores: 25 minutes.
  tiny-level3  the same for textured scenes of level 3 and for level 0; a quarter of the pictures
         is restyled.
  d32    32 bits, stride 16, 256 px: the tokenizer of the 2.2B model. 8 TPU chips or GPUs.
  d14    14 bits, stride 8, 256 px (2x2 patchified by the 8.4B model). 8 TPU chips or GPUs.

The tiny presets log loss and PSNR of held-out scenes (val/...) every 250 steps. The large
presets do so with --config.eval_every=5000 --config.data.validation=0.001, a share of their
rows.

The large presets see both pictures of the pairs in STORE, which python -m jaxedit.datasets.convert
writes.
"""

import dataclasses

from jaxedit.config import (
    PRESETS,
    BSQTrainConfig,
    DataConfig,
    OptimConfig,
    PretrainedConfig,
    TrainConfig,
    pick_preset,
)

STORE = "stores/seed-openimages"


def tiny() -> TrainConfig:
    """Return the run of a tokenizer for toy scenes, which a laptop can train."""
    return TrainConfig(
        model=_tokenizer("tiny"),
        bsq=BSQTrainConfig(scales=PRESETS["tiny"].varedit.scales, scale_drop=0.1, mse_weight=1.0),
        data=DataConfig(batch_size=16),
        optim=OptimConfig(
            learning_rate=1e-3, warmup_steps=100, beta2=0.95, weight_decay=0.0, clip_norm=1.0
        ),
        steps=1500,
        dtype="float32",
        remat="none",
        ema_decay=0.999,
        eval_every=250,
    )


def tiny_level3() -> TrainConfig:
    """Return the run of a tokenizer for textured toy scenes, and for those of level 0."""
    config = tiny()
    config.model.fit = "pad"  # also sees the white bars of pictures that are not square
    config.data.level = 3
    config.data.mixture = (("edit", 0.45), ("style", 0.3), ("edit:0", 0.15), ("style:0", 0.1))
    config.optim.schedule, config.optim.end_ratio = "cosine", 0.05
    config.steps = 5000
    return config


def _tokenizer(size: str) -> PretrainedConfig:
    return PretrainedConfig(model_type="bsq", bsq=dataclasses.replace(PRESETS[size].bsq))


def _bitvae(size: str) -> TrainConfig:
    """Return BitVAE's stage 1; with lpips_weights and gan_weight=0.3 its full loss."""
    patchify = PRESETS[size].varedit.patchify
    scales = PRESETS[size].varedit.scales[:7]
    if patchify:
        scales = tuple((2 * h, 2 * w) for h, w in scales)
    return TrainConfig(
        model=_tokenizer(size),
        bsq=BSQTrainConfig(scales=scales),
        data=DataConfig(
            source=STORE, image_size=256, batch_size=64, mixture=(("edit", 1.0),), threads=16
        ),
        optim=OptimConfig(
            learning_rate=1e-4, beta1=0.5, beta2=0.9, weight_decay=0.0, clip_norm=1.0
        ),
        steps=500_000,
        ema_decay=0.0,
        sample_every=5000,
        checkpoint_every=5000,
    )


def d32() -> TrainConfig:
    """Return the run of the tokenizer of the 2.2B model."""
    return _bitvae("2b")


def d14() -> TrainConfig:
    """Return the run of the tokenizer of the 8.4B model."""
    return _bitvae("8b")


RUNS = {"tiny": tiny, "tiny-level3": tiny_level3, "d32": d32, "d14": d14}


def get_config(preset: str = "tiny") -> TrainConfig:
    """Return the run called `preset`."""
    return pick_preset(RUNS, preset)()
