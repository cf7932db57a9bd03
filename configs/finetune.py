"""Fine-tuning on pairs of your own: low-rank additions (LoRA) to released weights, on 16 GB.

    python -m jaxedit.datasets.convert --dataset=pairs --src=my_pairs --out=stores/mine
    python -m jaxedit.train --config=configs/finetune.py:varedit --config.data.source=stores/mine \
        --workdir=runs/mine
    python -m jaxedit photo.jpg "make it snow" --model=runs/mine/export

Presets:
  tiny         the bundled toy-varedit at 64 px, on toy scenes unless --config.data.source names
               your own pairs; minutes on two CPU cores.
  varedit      VAREdit 2B at 512 px.
  varedit-256  the same weights at 256 px.
  editar       EditAR at 512 px.

To see when to stop, --config.data.validation=0.05 --config.eval_every=50 keeps a share of the pairs
out of training and logs its loss (val/loss); --config.export=best exports the weights with the
lowest loss. With the preset tiny, --config.eval_benchmark=toybox logs the success of edits of toy
scenes as well: what the model still knows.

The weights are downloaded and converted when they are first used; --config.init_from names other
weights of the same sizes. --config.lora.targets chooses the kernels that are trained, for example
"attn|cross", and --config.lora.rank the size of their additions. With more memory or several
devices, a smaller --config.optim.accumulate trains on more rows at once.
"""

import copy

from jaxedit.config import (
    PRESETS,
    SQUARE_SCALES,
    DataConfig,
    EditARTrainConfig,
    LoRAConfig,
    MeshConfig,
    OptimConfig,
    TrainConfig,
    VAREditTrainConfig,
    official,
    pick_preset,
)


def _tiny() -> TrainConfig:
    return TrainConfig(
        model=copy.deepcopy(PRESETS["tiny"]),
        varedit=VAREditTrainConfig(tokenizer="", bit_noise=0.1),
        data=_data(64, batch=16, text_tokens=16, source="toy"),
        optim=_optim(1e-3),
        lora=LoRAConfig(rank=8),
        init_from="toy-varedit",
        steps=300,
        dtype="float32",
        remat="none",
        export_dtype="float16",
        sample_every=100,
        checkpoint_every=100,
    )


def _varedit() -> TrainConfig:
    config = _large("varedit-2b-512", _data(512, batch=8, text_tokens=128))
    config.varedit.tokenizer = ""
    return config


def _varedit_256() -> TrainConfig:
    config = _varedit()
    config.data.image_size = 256
    config.model.varedit.scales = SQUARE_SCALES[:7]
    return config


def _editar() -> TrainConfig:
    config = _large("editar-512", _data(512, batch=8, text_tokens=120))
    config.editar = EditARTrainConfig(tokenizer="", distill_weight=0.0)
    return config


def _large(weights: str, data: DataConfig) -> TrainConfig:
    return TrainConfig(
        model=official(weights).config,
        data=data,
        optim=_optim(1e-4, accumulate=data.batch_size),
        mesh=MeshConfig(data=-1, fsdp=-1, tensor=-1),  # chosen
        label_precision="high",
        lora=LoRAConfig(rank=16),
        init_from=weights,
        steps=2000,
        export_dtype="bfloat16",
        sample_every=250,
        sample_rows=2,
        checkpoint_every=250,
    )


def _data(size: int, *, batch: int, text_tokens: int, source: str = "stores/mine") -> DataConfig:
    return DataConfig(
        source=source,
        image_size=size,
        batch_size=batch,
        text_tokens=text_tokens,
        text_tokenizer="",
        mixture=(("edit", 1.0),),
    )


def _optim(rate: float, accumulate: int = 1) -> OptimConfig:
    return OptimConfig(
        learning_rate=rate,
        schedule="cosine",
        end_ratio=0.1,
        warmup_steps=50,
        beta2=0.99,
        weight_decay=0.0,
        clip_norm=1.0,
        accumulate=accumulate,
    )


RUNS = {"tiny": _tiny, "varedit": _varedit, "varedit-256": _varedit_256, "editar": _editar}


def get_config(preset: str = "tiny") -> TrainConfig:
    """Return the run called `preset`."""
    return pick_preset(RUNS, preset)()
