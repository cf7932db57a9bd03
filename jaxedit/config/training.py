"""Settings of a training run."""

import dataclasses
import re
from typing import Literal

from jaxedit.config.checks import ConfigError, require
from jaxedit.config.families import BY_TYPE, family_of
from jaxedit.config.fields import (
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Probability,
    Share,
    check_fields,
)
from jaxedit.config.models import SQUARE_SCALES, PretrainedConfig, Scales
from jaxedit.config.tokens import PromptStyle

# Metrics by which the best checkpoint may be chosen: a loss is best when it is low, all others when
# they are high.
BestMetric = Literal["val/loss", "val/accuracy", "val/psnr", "val/success", "val/psnr_background"]
SCORES = ("val/success", "val/psnr_background")  # of eval_benchmark

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class MeshConfig:
    """Devices per mesh axis; an axis of -1 takes the devices that the other axes leave.

    If several axes are -1, training chooses them by the devices, the model and the batch, and logs
    the reason.
    """

    data: int = -1  # devices that share the rows
    fsdp: int = 1  # devices that share the rows and the parameters
    tensor: int = 1  # devices that share heads and hidden units


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class DataConfig:
    """Settings of the training data."""

    # the toybox, a .jsonl file of your own pairs, a store that jaxedit.datasets.convert wrote, or a
    # directory of stores
    source: str = "toy"
    # toybox difficulty: 0 | 1: more toys | 2: 128 px | 3: the toys of 0 in front of textures
    level: NonNegativeInt = 0
    # on level 3, change most backgrounds of training targets a little, as in real data
    imperfect_pairs: bool = True
    split: Literal["train", "test"] = "train"  # of the toybox
    image_size: PositiveInt = 64  # pixels, square
    batch_size: PositiveInt = 32  # global, before gradient accumulation splits it
    text_tokens: PositiveInt = 32  # instructions are padded to this
    text_tokenizer: str = "toy-tokenizer"  # name or directory; empty: the tokenizer of init_from
    # share of each task: edit | recon: "reconstruct the image without changes" | depth, canny,
    # segmentation: a map becomes an image | add_remove, other, style: parts of edit. Of the toybox
    # also with a level, "edit:0". Of a store: variants, edit | add | remove | add_remove | depth |
    # canny | segmentation | recon. Of a directory: stores, "pipe", or several together,
    # "pipe+imgedit"; rows as stored, or a variant, "pipe:add"
    mixture: tuple[tuple[str, float], ...] = (("edit", 0.95), ("recon", 0.05))
    # stratified: exact shares | iid: drawn row by row, as in EditAR
    order: Literal["stratified", "iid"] = "stratified"
    prompts: PromptStyle = "code"  # of depth, canny and segmentation rows: code | paper | toy
    # rows of the validation loss: a share of the training rows, such as 0.01, chosen by a hash and
    # left out of training; or another source: a file, a store or a directory of stores; toy or
    # empty: the toybox's test split
    validation: str = ""
    # mixture of another source of validation; empty: `mixture` if it fits, else all rows as stored
    validation_mixture: tuple[tuple[str, float], ...] = ()
    # read the codes that jaxedit.datasets.encode added to the stores, if they fit, instead of
    # encoding pictures in every step; only of a VQ tokenizer
    stored_codes: bool = True
    seed: int = 0  # of the order of rows
    threads: PositiveInt = 2  # that read and decode rows
    prefetch: PositiveInt = 4  # batches

    @property
    def held_out_share(self) -> float:
        """Return the share of the training rows that only the validation loss sees."""
        return float(self.validation) if _NUMBER.fullmatch(self.validation) else 0.0

    def validate(self) -> None:
        """Raise ConfigError for a validation that cannot work; `data.loader` checks the rest."""
        if not _NUMBER.fullmatch(self.validation):
            return
        require(
            0 < self.held_out_share < 1,
            f"data.validation={self.validation}: expected a share above 0 and below 1, or a source",
        )
        require(
            self.source != "toy",
            f"data.validation={self.validation}: expected 'toy', the toybox's own test split",
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class OptimConfig:
    """AdamW. Defaults: Infinity's training script."""

    learning_rate: Positive = 6e-5  # its peak
    schedule: Literal["constant", "cosine"] = "constant"  # of the rate after its warm-up
    end_ratio: NonNegative = 1.0  # learning rate at the end, as a share of the peak
    warmup_steps: NonNegativeInt = 0  # steps in which the rate rises from 0 to its peak
    beta1: Share = 0.9  # decay of the mean gradient
    beta2: Share = 0.97  # decay of the mean squared gradient
    eps: Positive = 1e-8  # added to the root of the mean squared gradient
    weight_decay: NonNegative = 0.005  # of kernels; times the learning rate, as in AdamW
    clip_norm: Positive = 5.0  # gradients of a larger norm are scaled down to it
    accumulate: PositiveInt = 1  # micro-batches per step

    def validate(self) -> None:
        """Raise ConfigError for any setting that cannot work."""
        check_fields(self, "optim")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class VAREditTrainConfig:
    """Settings of VAREdit's training besides its model. Defaults: Infinity's training script."""

    # weights of the frozen image tokenizer: name or directory; empty: the tokenizer of init_from
    tokenizer: str = "toy-varedit"
    # weights of the frozen text encoder: name or directory; empty: train it with the transformer
    text_encoder: str = ""
    # of training pairs, pad | crop (as the release trains); empty: the model's, as they are edited
    fit: Literal["pad", "crop", ""] = ""
    text_drop: Probability = 0.1  # probability that a row's text becomes unconditional
    bit_noise: NonNegative = 0.3  # strength of bitwise self-correction, 0 = off
    bit_noise_scales: NonNegativeInt = 13  # only scales before this number are corrupted
    # sqrt_area: a scale weighs sqrt(h*w) | uniform: every token weighs 1
    scale_weights: Literal["sqrt_area", "uniform"] = "sqrt_area"


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class BSQTrainConfig:
    """Losses of the image tokenizer. Defaults: BitVAE stage 1 without its external networks."""

    scales: Scales = SQUARE_SCALES[:7]  # latent grids
    scale_drop: Probability = 0.5  # each scale but the last is skipped with this probability
    l1_weight: NonNegative = 1.0  # of the mean absolute difference of pixels
    mse_weight: NonNegative = 0.0  # paper 0
    quantizer_weight: NonNegative = 4.0  # of the next two together
    commit_weight: NonNegative = 0.25  # of the distance from the latents to their bits
    entropy_weight: NonNegative = 0.1  # rewards certain bits and codes that are used equally often
    inv_temperature: Positive = 100.0  # sharpness of the bits' probabilities in the entropy
    lpips_weight: NonNegative = 0.0  # paper 1.0; needs lpips_weights
    lpips_weights: str = ""  # file of the VGG16 LPIPS network
    gan_weight: NonNegative = 0.0  # paper 0.3
    # step at which the generator starts to see the discriminator
    gan_start: NonNegativeInt = 50_000
    gan_channels: PositiveInt = 128  # base width of the PatchGAN
    gan_lecam: NonNegative = 0.05  # of LeCam's regularisation of the discriminator


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class EditARTrainConfig:
    """Settings of EditAR's training besides its model. Defaults: EditAR."""

    # weights of the frozen image tokenizer: name or directory; empty: the tokenizer of init_from
    tokenizer: str = "toy-editar"
    text_encoder: str = ""  # weights of the frozen text encoder; empty: train it as well
    drop: Probability = 0.05  # share of rows without text, without image, and without either (each)
    random_share: Probability = 0.0  # ours: share of rows with random codes to be copied; paper 0
    spoilt_share: Probability = 0.0  # ours: share of rows that see a corrupted target; paper 0
    distill_weight: NonNegative = 0.5  # of the teacher's features; 0 = no teacher
    teacher: str = ""  # weights of the frozen DINOv2: name or directory; empty: random weights
    # the teacher's view: resize256_crop224: the middle | resize224: the whole picture
    teacher_view: Literal["resize256_crop224", "resize224"] = "resize256_crop224"


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class VQTrainConfig:
    """Losses of the vector-quantised tokenizer. Defaults: LlamaGen without external networks."""

    mse_weight: NonNegative = 1.0  # of the mean squared difference of pixels
    l1_weight: NonNegative = 0.0  # of the mean absolute difference of pixels
    commit_weight: NonNegative = 0.25  # of the distance from the latents to their entries
    drift_weight: NonNegative = 0.0  # ours: latents of a pair stay equal outside the edit mask
    # batches whose latents the codebook starts from; 0 = random start
    kmeans_batches: NonNegativeInt = 4
    # steps without use after which an entry starts again; 0 = never
    restart_after: NonNegativeInt = 100
    lpips_weight: NonNegative = 0.0  # paper 1.0; needs lpips_weights
    lpips_weights: str = ""  # file of the VGG16 LPIPS network
    gan_weight: NonNegative = 0.0  # paper 0.5
    # step at which the generator starts to see the discriminator
    gan_start: NonNegativeInt = 20_000
    gan_channels: PositiveInt = 64  # base width of the PatchGAN


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class LoRAConfig:
    """Low-rank additions to the kernels of `init_from`, trained instead of the kernels."""

    rank: NonNegativeInt = 0  # r; 0 = off: all parameters are trained
    alpha: Positive = 16.0  # additions count alpha / rank
    targets: str = "transformer/"  # regular expression, found in paths of blocks' kernels

    def validate(self) -> None:
        """Raise ConfigError for settings that cannot work."""
        check_fields(self, "lora")
        try:
            re.compile(self.targets)
        except re.error as error:
            raise ConfigError(
                f"lora.targets={self.targets!r}: not a regular expression: {error}"
            ) from error


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TrainConfig:
    """Settings of a training run, as returned by `configs/*.py`."""

    model: PretrainedConfig = dataclasses.field(default_factory=PretrainedConfig)
    varedit: VAREditTrainConfig = dataclasses.field(default_factory=VAREditTrainConfig)
    bsq: BSQTrainConfig = dataclasses.field(default_factory=BSQTrainConfig)
    editar: EditARTrainConfig = dataclasses.field(default_factory=EditARTrainConfig)
    vq: VQTrainConfig = dataclasses.field(default_factory=VQTrainConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    lora: LoRAConfig = dataclasses.field(default_factory=LoRAConfig)
    init_from: str = ""  # weights to start from: name or directory; empty: random weights
    steps: PositiveInt = 1000  # of the whole run, including steps before it was resumed
    seed: int = 0  # of new parameters, noise and dropout; data.seed is the data's
    # of computation; parameters stay float32
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    # of the products in the image tokenizer where it makes labels: highest: float32 | high: three
    # of bfloat16 instead of six on TPU, TF32 on NVIDIA cards; benchmarks/label_precision.py
    label_precision: Literal["highest", "high"] = "highest"
    # activations that the backward pass computes again (rematerialisation): all | none | cheap: all
    # except products with weights, which needs a fifth less work and 3 to 4 times the memory
    remat: Literal["all", "cheap", "none"] = "all"
    unroll: PositiveInt = 1  # blocks in an iteration of the loop over all blocks
    ema_decay: Share = 0.0  # of the moving average of the parameters, 0 = off
    # auto: continue from the newest checkpoint, if there is any
    resume: Literal["auto", "never"] = "auto"
    log_every: PositiveInt = 20  # steps between two lines of the log
    sample_every: NonNegativeInt = 500  # steps between sample sheets, 0 = off
    sample_rows: PositiveInt = 8  # rows of a sample sheet
    checkpoint_every: PositiveInt = 500  # steps between two checkpoints
    keep_checkpoints: PositiveInt = 2  # number of newest checkpoints to keep, besides the best
    # steps between two validations (val/...: the loss of the rows of data.validation and the scores
    # of eval_benchmark, with the averaged parameters if ema_decay is on), 0 = off
    eval_every: NonNegativeInt = 0
    eval_batches: PositiveInt = 8  # of data.batch_size rows; the same rows every time
    # edits that are judged at each validation, toybox: of held-out toybox pairs of data.level
    eval_benchmark: Literal["toybox", ""] = ""
    eval_samples: PositiveInt = 40  # edits of eval_benchmark; the same every time
    # chooses the best checkpoint, which is kept. loss: of any model | accuracy: of transformers |
    # psnr: of image tokenizers | success, psnr_background: of eval_benchmark
    best_metric: BestMetric = "val/loss"
    # of the weights in WORKDIR/export; 16 bits are half the size
    export_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    # weights in WORKDIR/export: last | best: of the checkpoint with the best best_metric
    export: Literal["last", "best"] = "last"
    tensorboard: bool = False  # reports in WORKDIR/tb; needs tensorboardX
    wandb: str = ""  # name of the project that gets the reports; needs wandb

    @property
    def fit(self) -> str:
        """Return how the pictures of pairs become squares: pad or crop."""
        own = getattr(self, BY_TYPE[self.model.model_type].parts[0], None)
        return getattr(own, "fit", "") or self.model.fit

    @property
    def text_tokenizer(self) -> str:
        """Return the name or directory of the text tokenizer."""
        return self.data.text_tokenizer or self.init_from

    @property
    def has_validation(self) -> bool:
        """Tell whether there is a validation loss; the toybox always has rows for it."""
        return self.eval_every > 0 and (self.data.source == "toy" or self.data.validation != "")

    def validate(self) -> None:
        """Raise ConfigError for any setting that cannot work."""
        self.model.validate()
        check_fields(self)
        for part in ("varedit", "bsq", "editar", "vq", "data"):
            check_fields(getattr(self, part), part)
        self.lora.validate()
        require(
            bool(self.init_from) or not self.lora.rank,
            f"init_from='': expected the weights that lora.rank={self.lora.rank} adds to",
        )
        require(
            bool(BY_TYPE[self.model.model_type].purpose) or not self.lora.rank,
            f"lora.rank={self.lora.rank}: expected 0 for a {self.model.model_type}",
        )
        self._validate_best()
        self.data.validate()
        self.optim.validate()
        require(
            self.data.batch_size % self.optim.accumulate == 0,
            f"data.batch_size={self.data.batch_size}: expected a multiple of "
            f"optim.accumulate={self.optim.accumulate}",
        )

    def _validate_best(self) -> None:
        """Raise ConfigError for a benchmark or a best checkpoint that the run cannot have."""
        family, name = family_of(self.model), self.best_metric
        require(
            not self.eval_benchmark or family.purpose == "edit",
            f"eval_benchmark={self.eval_benchmark!r}: expected nothing for {family.name}, which "
            "does not edit",
        )
        if name in SCORES:
            is_there = self.eval_every > 0 and self.eval_benchmark != ""
            expected = "eval_every and eval_benchmark"
        else:
            own = ("val/loss", "val/accuracy" if family.purpose else "val/psnr")
            require(
                name in own, f"best_metric={name!r}: expected {' or '.join(own)} for {family.name}"
            )
            is_there = self.has_validation
            expected = "eval_every and data.validation, a share of the rows such as 0.01 or another"
            expected += " source"
        setting = "export='best'" if self.export == "best" else f"best_metric={name!r}"
        is_free = self.export == "last" and (not self.eval_every or name == "val/loss")
        require(is_there or is_free, f"{setting}: expected {expected}")
