"""EditAR: an autoregressive editor whose prefix is the source picture, then the instruction.

    python -m jaxedit.train --config=configs/editar.py

Presets:
  tiny   3.5 M parameters, 64 px toy scenes; trains on two CPU cores, with toy-editar's tokenizer or
         your own: --config.editar.tokenizer=runs/tokenizer_vq-tiny/export
  tiny-level3  the same for textured scenes of level 3 and for level 0; its tokenizer is the export
         of configs/tokenizer_vq.py:tiny-level3 in LEVEL3_TOKENIZER.
  xl     GPT-XL at 512 px: 40k steps, batch 64. 8 x 80 GB or TPU v5p-8.

The tiny presets log the loss of held-out scenes (val/loss) and the success of 40 held-out edits
(val/success), which chooses the best checkpoint, every 500 steps; xl logs the loss with
--config.eval_every=500 --config.data.validation=0.001, a share of its rows.

The preset xl starts from LlamaGen's text-to-image weights, converted into the directory WEIGHTS,
and needs DINOv2's weights in TEACHER. Its pairs are the stores multigen-depth, cocostuff, pipe and
seed-unsplash in the directory STORES, written by python -m jaxedit.datasets.convert.
"""

import copy

from jaxedit.config import (
    EDITAR_PRESETS,
    DataConfig,
    EditARTrainConfig,
    MeshConfig,
    OptimConfig,
    TrainConfig,
    pick_preset,
)

WEIGHTS = "pretrained/llamagen-t2i-xl-512"  # image tokenizer, transformer and text encoder
TEACHER = "pretrained/dinov2-base"
STORES = "stores"
LEVEL3_TOKENIZER = "runs/tokenizer_vq-tiny-level3/export"


def _tiny() -> TrainConfig:
    model = copy.deepcopy(EDITAR_PRESETS["tiny"])
    return TrainConfig(
        model=model,
        editar=EditARTrainConfig(random_share=0.05, spoilt_share=0.7),
        data=DataConfig(
            batch_size=16,
            text_tokens=model.editar.text_tokens,
            mixture=(
                ("depth", 0.15),
                ("canny", 0.15),
                ("segmentation", 0.15),
                ("add_remove", 0.25),
                ("other", 0.25),
                ("recon", 0.05),  # of the other edits' 0.30: ERec's prompt
            ),
        ),
        optim=OptimConfig(
            learning_rate=2e-3,
            schedule="cosine",
            end_ratio=0.05,
            warmup_steps=200,
            beta2=0.95,
            weight_decay=0.05,
            clip_norm=1.0,
        ),
        steps=27_000,
        dtype="float32",
        remat="none",
        ema_decay=0.999,
        export_dtype="float16",
        log_every=50,
        sample_every=500,
        checkpoint_every=500,
        eval_every=500,
        eval_benchmark="toybox",
        best_metric="val/success",
    )


def _tiny_level3() -> TrainConfig:
    config = _tiny()
    config.editar.tokenizer = LEVEL3_TOKENIZER
    config.data.level = 3
    config.data.mixture = (
        ("depth", 0.1),
        ("canny", 0.1),
        ("segmentation", 0.1),
        ("add_remove", 0.2),
        ("other", 0.25),
        ("add_remove:0", 0.08),
        ("other:0", 0.12),
        ("recon", 0.05),
    )
    return config


def _xl() -> TrainConfig:
    return TrainConfig(
        model=copy.deepcopy(EDITAR_PRESETS["xl"]),
        editar=EditARTrainConfig(tokenizer=WEIGHTS, text_encoder=WEIGHTS, teacher=TEACHER),
        init_from=WEIGHTS,
        data=DataConfig(
            source=STORES,
            image_size=512,
            batch_size=64,
            text_tokens=120,
            mixture=(
                ("multigen-depth", 0.15),
                ("multigen-depth:canny", 0.15),
                ("cocostuff", 0.15),
                ("pipe:add_remove", 0.25),
                ("seed-unsplash", 0.30),
            ),
            order="iid",
            threads=16,
        ),
        optim=OptimConfig(
            learning_rate=1e-4, beta1=0.9, beta2=0.95, weight_decay=0.05, clip_norm=1.0
        ),
        mesh=MeshConfig(data=-1, fsdp=-1, tensor=-1),  # chosen
        label_precision="high",
        steps=40_000,
        remat="cheap",
        sample_every=1000,
        checkpoint_every=1000,
    )


RUNS = {"tiny": _tiny, "tiny-level3": _tiny_level3, "xl": _xl}


def get_config(preset: str = "tiny") -> TrainConfig:
    """Return the run called `preset`."""
    return pick_preset(RUNS, preset)()
