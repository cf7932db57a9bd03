"""VAREdit with scale-aligned reference (SAR), the paper's method: 2.2B, 8.4B and tiny.

    python -m jaxedit.train --config=configs/var_sar.py

Presets:
  tiny     1.9 M parameters, 64 px toy scenes; trains on two CPU cores.
  tiny-level3  the same for textured scenes of level 3 and for level 0; its tokenizer is the export
           of configs/tokenizer_bsq.py:tiny-level3 in LEVEL3_TOKENIZER.
  2b-256   2.2B, stage 1: 8k steps at 256 px, batch 1536. TPU v5p-64 or 64 x 80 GB.
  2b       2.2B, stage 2: 7k steps at 512 px, batch 960, from stage 1.
  8b       8.4B: 60k steps at 512 px, batch 1536. TPU v5p-256 or 256 x 80 GB.

On devices of 16 GB (TPU v5e-256), 2b and 8b need --config.optim.accumulate=3. A batch of 960 does
not divide over 256 devices, which then also cut the width (tensor). A batch of 1024 needs only a
quarter of the communication (docs/dry_run.md).

The tiny presets log the loss of held-out scenes (val/loss) and the success of 40 held-out edits
(val/success), which chooses the best checkpoint, every 500 steps. The large presets log the loss
with --config.eval_every=500 --config.data.validation=0.001, a share of their rows.

The large presets start from Infinity's weights, converted into the directory WEIGHTS; stage 2
continues with the export of stage 1. Their pairs are the stores seed-unsplash, seed-openimages,
seed-real, seed-multiturn and imgedit in the directory STORES, written by
python -m jaxedit.datasets.convert and passed through python -m jaxedit.datasets.vlm_filter.
"""

import copy

from jaxedit.config import (
    PRESETS,
    SQUARE_SCALES,
    DataConfig,
    MeshConfig,
    OptimConfig,
    TrainConfig,
    VAREditTrainConfig,
    pick_preset,
)

WEIGHTS = "pretrained/infinity-{size}"  # image tokenizer, transformer and text encoder
STORES = "stores"
LEVEL3_TOKENIZER = "runs/tokenizer_bsq-tiny-level3/export"
# All rows alike: single edits, conversations cut into pairs, and ImgEdit's single edits.
MIXTURE = (("seed-unsplash+seed-openimages+seed-real+seed-multiturn+imgedit", 1.0),)


def with_conditioning(preset: str, conditioning: str) -> TrainConfig:
    """Return the run called `preset` with another conditioning on the source image."""
    config = get_config(preset)
    config.model.varedit.conditioning = conditioning
    if conditioning == "full":  # the released weights' positions have no place for every scale
        config.model.varedit.rope_mode = "grid"
    return config


def _tiny() -> TrainConfig:
    return TrainConfig(
        model=copy.deepcopy(PRESETS["tiny"]),
        varedit=VAREditTrainConfig(bit_noise=0.1),
        data=DataConfig(level=0, image_size=64, batch_size=16, text_tokens=16),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=200, beta2=0.95, clip_norm=1.0),
        steps=10_000,
        dtype="float32",
        remat="none",
        ema_decay=0.999,
        export_dtype="float16",
        log_every=50,
        sample_every=1000,
        checkpoint_every=500,
        eval_every=500,
        eval_benchmark="toybox",
        best_metric="val/success",
    )


def _tiny_level3() -> TrainConfig:
    config = _tiny()
    config.varedit.tokenizer = LEVEL3_TOKENIZER
    config.data.level = 3
    config.data.mixture = (("edit", 0.65), ("edit:0", 0.25), ("recon", 0.07), ("recon:0", 0.03))
    config.optim.schedule, config.optim.end_ratio = "cosine", 0.05
    config.steps = 20_000
    return config


def _paper(size: str, pixels: int, *, batch: int, steps: int, rate: float) -> TrainConfig:
    weights = WEIGHTS.format(size=size)
    config = TrainConfig(
        model=copy.deepcopy(PRESETS[size]),
        varedit=VAREditTrainConfig(tokenizer=weights, text_encoder=weights, fit="crop"),
        init_from=weights,
        data=DataConfig(
            source=STORES,
            image_size=pixels,
            batch_size=batch,
            text_tokens=512,
            mixture=MIXTURE,
            threads=16,
        ),
        optim=OptimConfig(learning_rate=rate),
        mesh=MeshConfig(data=-1, fsdp=-1, tensor=-1),  # chosen
        label_precision="high",
        steps=steps,
        checkpoint_every=1000,
        sample_every=1000,
    )
    config.model.varedit.scales = SQUARE_SCALES[: {256: 7, 512: 10}[pixels]]
    return config


def _2b_256() -> TrainConfig:
    return _paper("2b", 256, batch=1536, steps=8_000, rate=6e-5)


def _2b() -> TrainConfig:
    config = _paper("2b", 512, batch=960, steps=7_000, rate=1.875e-5)
    config.init_from = "runs/2b-256/export"
    return config


def _8b() -> TrainConfig:
    return _paper("8b", 512, batch=1536, steps=60_000, rate=6e-5)


RUNS = {"tiny": _tiny, "tiny-level3": _tiny_level3, "2b-256": _2b_256, "2b": _2b, "8b": _8b}


def get_config(preset: str = "tiny") -> TrainConfig:
    """Return the run called `preset`."""
    return pick_preset(RUNS, preset)()
