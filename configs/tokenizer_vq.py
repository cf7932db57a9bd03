"""The image tokenizer of LlamaGen and EditAR: one code per position from a learnt codebook.

    python -m jaxedit.train --config=configs/tokenizer_vq.py

Presets:
  tiny   2,048 codes, stride 8, 64 px toy scenes and their maps. One CPU core: 27 minutes.
  tiny-level3  the same for textured scenes of level 3 and for level 0. benchmarks/toy_ceiling.py
         tells what the exact checker can read of its pictures; docs/numbers.md, of toy-editar's.
  vq16   16,384 codes, stride 16, 256 px: LlamaGen's VQ-16. 8 TPU chips or GPUs.
  vq8    16,384 codes, stride 8, 256 px: LlamaGen's VQ-8. 8 TPU chips or GPUs.

The tiny presets log loss and PSNR of held-out scenes (val/...) every 300 steps. The large
presets do so with --config.eval_every=5000 --config.data.validation=0.001, a share of their
rows.

The large presets see both pictures of the pairs in STORE, which python -m jaxedit.datasets.convert
writes.
"""

import dataclasses

from jaxedit.config import (
    EDITAR_PRESETS,
    DataConfig,
    OptimConfig,
    PretrainedConfig,
    TrainConfig,
    VQConfig,
    VQTrainConfig,
    pick_preset,
)

STORE = "stores/seed-openimages"
# EditAR's tokenizer sees edits and the maps of its translation rows.
_MIXTURE = (
    ("edit", 0.65),
    ("recon", 0.05),
    ("depth", 0.1),
    ("canny", 0.1),
    ("segmentation", 0.1),
)


def tiny() -> TrainConfig:
    """Return the run of a tokenizer for toy scenes, which a laptop can train."""
    return TrainConfig(
        model=_tokenizer(dataclasses.replace(EDITAR_PRESETS["tiny"].vq)),
        vq=VQTrainConfig(l1_weight=1.0, drift_weight=10.0, restart_after=100),
        data=DataConfig(batch_size=8, mixture=_MIXTURE),
        optim=OptimConfig(
            learning_rate=1e-3,
            schedule="cosine",
            end_ratio=0.05,
            warmup_steps=50,
            beta2=0.95,
            weight_decay=0.0,
            clip_norm=1.0,
        ),
        steps=3000,
        dtype="float32",
        remat="none",
        ema_decay=0.999,
        sample_every=300,
        checkpoint_every=300,
        eval_every=300,
    )


def tiny_level3() -> TrainConfig:
    """Return the run of a tokenizer for textured toy scenes, and for those of level 0."""
    config = tiny()
    config.data.level = 3
    config.data.imperfect_pairs = False  # vq.drift_weight keeps codes where pictures are equal
    config.data.mixture = (
        ("edit", 0.4),
        ("style", 0.2),
        ("edit:0", 0.1),
        ("style:0", 0.1),
        ("recon", 0.05),
        ("depth", 0.05),
        ("canny", 0.05),
        ("segmentation", 0.05),
    )
    config.steps = 5000
    return config


def _tokenizer(config: VQConfig) -> PretrainedConfig:
    return PretrainedConfig(model_type="vq", vq=config)


def _llamagen(config: VQConfig) -> TrainConfig:
    """Return LlamaGen's run; with lpips_weights and gan_weight=0.5 its full loss."""
    return TrainConfig(
        model=_tokenizer(config),
        vq=VQTrainConfig(kmeans_batches=0, restart_after=0),
        data=DataConfig(
            source=STORE, image_size=256, batch_size=64, mixture=(("edit", 1.0),), threads=16
        ),  # 128 pictures
        optim=OptimConfig(
            learning_rate=1e-4, beta1=0.9, beta2=0.95, weight_decay=0.05, clip_norm=1.0
        ),
        steps=400_000,
        sample_every=5000,
        checkpoint_every=5000,
    )


def vq16() -> TrainConfig:
    """Return the run of EditAR's tokenizer."""
    return _llamagen(VQConfig())


def vq8() -> TrainConfig:
    """Return the run of LlamaGen's tokenizer of stride 8."""
    return _llamagen(VQConfig(channel_mult=(1, 2, 2, 4)))


RUNS = {"tiny": tiny, "tiny-level3": tiny_level3, "vq16": vq16, "vq8": vq8}


def get_config(preset: str = "tiny") -> TrainConfig:
    """Return the run called `preset`."""
    return pick_preset(RUNS, preset)()
