"""Every setting of jaxedit: one typed dataclass per part, the named sizes, and their JSON form.

A dataclass is mutable while a command line is parsed (`--config.optim.learning_rate=1e-4`) and
hashable, so that it can be a static argument of a jitted function. `validate()` is called once,
after parsing.
"""

import dataclasses
import json
import math
from typing import Any, get_args, get_origin, get_type_hints

Scales = tuple[tuple[int, int], ...]  # ((h_1, w_1), ..., (h_K, w_K)), coarse to fine

# The square schedule of Infinity and VAREdit; 7, 10, 12 or 13 entries are 256, 512, 768 or 1024 px.
SQUARE_SCALES: Scales = tuple((n, n) for n in (1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64))

CONDITIONINGS = ("sar", "finest", "full")
ROPE_MODES = ("grid", "release")


class ConfigError(ValueError):
    """A setting has a value that cannot work; the message names it and says what was expected."""


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_seed(seed: int) -> None:
    """Raise `ConfigError` unless `seed` is a whole number from 0 to 2**31 - 1."""
    whole = hasattr(seed, "__index__") and not isinstance(seed, bool)
    require(whole and 0 <= seed < 2**31, f"seed={seed!r}: expected 0 to {2**31 - 1}")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class T5Config:
    """T5 v1.1 / Flan encoder (gated GELU). Defaults: flan-t5-xl."""

    vocab_size: int = 32128
    width: int = 2048  # d_model
    head_width: int = 64  # d_kv
    mlp_hidden: int = 5120  # d_ff
    layers: int = 24
    heads: int = 32
    position_buckets: int = 32
    position_max_distance: int = 128
    norm_eps: float = 1e-6


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class BSQConfig:
    """Multi-scale residual binary spherical tokenizer. Defaults: `infinity_vae_d32reg` (2B)."""

    bits: int = 32  # channels of the latent = bits per latent position
    stride: int = 16  # pixels per latent position; the first log2(stride) levels halve
    base_channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4, 4)
    res_blocks: int = 2

    @property
    def halvings(self) -> int:
        """How often the encoder halves height and width."""
        return self.stride.bit_length() - 1

    def validate(self) -> None:
        """Raise ConfigError unless stride is a power of two that the levels can reach."""
        steps = math.log2(self.stride) if self.stride > 0 else -1
        require(
            steps == int(steps) and 0 <= steps < len(self.channel_mult),
            f"bsq.stride={self.stride}: expected a power of two below "
            f"2**{len(self.channel_mult)}, the number of levels of channel_mult",
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class VAREditConfig:
    """VAREdit / Infinity transformer. Defaults: 2B at 512 px as released."""

    depth: int = 32
    width: int = 2048
    heads: int = 16
    mlp_hidden: int = 8192
    bits: int = 32  # bits per latent position of the image tokenizer
    patchify: bool = False  # 2x2 latent positions are one token (8B)
    text_width: int = 2048
    text_pool_heads: int = 16
    max_text_tokens: int = 512
    levels: int = 15  # rows of the level embedding
    conditioning: str = "sar"  # paper: sar; ablations: finest, full
    rope_mode: str = "release"  # released weights: release; trained from here: grid
    rope_base: float = 10000.0
    rope_scales: Scales = SQUARE_SCALES  # the 1M schedule from which rotary positions are taken
    scales: Scales = SQUARE_SCALES[:10]  # default schedule, in tokens
    drop_path: float = 0.1  # linear over depth; training only
    norm_eps: float = 1e-6

    @property
    def head_width(self) -> int:
        """E, the width of one attention head."""
        return self.width // self.heads

    @property
    def init_std(self) -> float:
        """Standard deviation of a new kernel (the release cuts at +-2, far outside)."""
        return math.sqrt(1 / (3 * self.width))

    @property
    def token_bits(self) -> int:
        """Q, bits per transformer token."""
        return self.bits * (4 if self.patchify else 1)

    @property
    def latent_scales(self) -> Scales:
        """`scales` in latent positions of the tokenizer instead of tokens."""
        f = 2 if self.patchify else 1
        return tuple((f * h, f * w) for h, w in self.scales)

    def validate(self) -> None:
        """Raise ConfigError for sizes that do not divide and for unknown or impossible modes."""
        require(
            self.width % self.heads == 0 and self.head_width % 4 == 0,
            f"varedit.width={self.width}, heads={self.heads}: width/heads must be a multiple of 4",
        )
        require(
            self.width % self.text_pool_heads == 0,
            f"varedit.text_pool_heads={self.text_pool_heads}: must divide width={self.width}",
        )
        require(
            self.conditioning in CONDITIONINGS,
            f"varedit.conditioning={self.conditioning!r}: expected one of {CONDITIONINGS}",
        )
        require(
            self.rope_mode in ROPE_MODES,
            f"varedit.rope_mode={self.rope_mode!r}: expected one of {ROPE_MODES}",
        )
        require(
            not (self.conditioning == "full" and self.rope_mode == "release"),
            "varedit.rope_mode='release' has no positions for conditioning='full': use 'grid'",
        )
        require(
            len(self.scales) <= self.levels and self.scales[0] == (1, 1),
            f"varedit.scales={self.scales}: expected 1 to {self.levels} scales from (1, 1) up",
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class SampleConfig:
    """How bits are drawn; a scalar holds for every scale, a tuple has one entry per scale."""

    guidance: float | tuple[float, ...] = 4.0  # paper 4.0
    temperature: float | tuple[float, ...] = 0.5  # paper 0.5
    top_p: float = 0.97  # release 0.97, paper off = 1.0
    greedy: bool = False  # take the likelier value of each bit

    def per_scale(self, name: str, scales: int) -> tuple[float, ...]:
        """The setting `name` as one finite float per scale; ConfigError if it does not fit."""
        value = getattr(self, name)
        values = tuple(value) if isinstance(value, tuple | list) else (value,) * scales
        require(
            len(values) == scales,
            f"sample.{name}={value}: expected one number or {scales} numbers, one per scale",
        )
        require(
            all(isinstance(v, int | float) and math.isfinite(v) for v in values),
            f"sample.{name}={value}: expected finite numbers",
        )
        return tuple(float(v) for v in values)

    def validate(self, scales: int) -> None:
        """Raise ConfigError for settings outside their range."""
        self.per_scale("guidance", scales)
        require(
            all(t > 0 for t in self.per_scale("temperature", scales)),
            f"sample.temperature={self.temperature}: expected positive numbers",
        )
        require(
            0 < self.top_p <= 1, f"sample.top_p={self.top_p}: expected a number in (0, 1] (1 = off)"
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class PretrainedConfig:
    """What travels with weights: every setting that inference needs."""

    model_type: str = "varedit"  # varedit | bsq
    varedit: VAREditConfig | None = None
    bsq: BSQConfig | None = None
    t5: T5Config | None = None
    sample: SampleConfig | None = None

    def validate(self) -> None:
        """Raise ConfigError if a part is missing, invalid, or does not fit another part."""
        parts = {"bsq": ("bsq",), "varedit": ("varedit", "bsq", "t5", "sample")}
        require(
            self.model_type in parts,
            f"model_type={self.model_type!r}: expected one of {', '.join(parts)}",
        )
        for name in parts[self.model_type]:
            require(getattr(self, name) is not None, f"{self.model_type} config lacks {name!r}")
        self.bsq.validate()
        if self.model_type == "varedit":
            self.varedit.validate()
            self.sample.validate(len(self.varedit.scales))
            require(
                self.varedit.bits == self.bsq.bits,
                f"varedit.bits={self.varedit.bits} but the tokenizer has bsq.bits={self.bsq.bits}",
            )
            require(
                self.varedit.text_width == self.t5.width,
                f"varedit.text_width={self.varedit.text_width} but t5.width={self.t5.width}",
            )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class MeshConfig:
    """Devices per mesh axis; -1 takes what the others leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class DataConfig:
    """Where training pairs come from."""

    source: str = "toy"  # the toybox, or a .jsonl file of your own pairs
    level: int = 0  # toybox difficulty 0, 1 or 2
    split: str = "train"
    image_size: int = 64  # pixels, square
    batch_size: int = 32  # global, before gradient accumulation splits it
    text_tokens: int = 32  # instructions are padded to this
    text_tokenizer: str = "toy-tokenizer"  # bundled name or directory
    recon_share: float = 0.05  # share of "reconstruct the image without changes" rows
    translate_share: float = 0.0  # share of depth / edge / segmentation -> image rows
    seed: int = 0
    threads: int = 2
    prefetch: int = 4  # batches


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class OptimConfig:
    """AdamW. Defaults: Infinity's training script."""

    learning_rate: float = 6e-5
    schedule: str = "constant"  # constant | cosine
    end_ratio: float = 1.0  # learning rate at the end, as a share of the peak
    warmup_steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.97
    eps: float = 1e-8
    weight_decay: float = 0.005
    clip_norm: float = 5.0
    accumulate: int = 1  # micro-batches per step


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class VAREditTrainConfig:
    """What VAREdit's training adds to its model. Defaults: Infinity's training script."""

    tokenizer: str = "toy-varedit"  # weights of the frozen image tokenizer: name or directory
    text_encoder: str = (
        ""  # weights of the frozen text encoder; empty: train it with the transformer
    )
    text_drop: float = 0.1  # probability that a row's text becomes the unconditional one
    bit_noise: float = 0.3  # strength of bitwise self-correction, 0 = off
    bit_noise_scales: int = 13  # only scales before this one are disturbed
    scale_weights: str = "sqrt_area"  # sqrt_area: a scale weighs sqrt(h*w) | uniform: every token 1


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class BSQTrainConfig:
    """Losses of the image tokenizer. Defaults: BitVAE stage 1 without its external networks."""

    scales: Scales = SQUARE_SCALES[:7]  # latent grids
    scale_drop: float = 0.5  # each scale but the last is skipped with this probability
    l1_weight: float = 1.0
    mse_weight: float = 0.0  # paper 0
    quantizer_weight: float = 4.0
    commit_weight: float = 0.25
    entropy_weight: float = 0.1
    inv_temperature: float = 100.0
    lpips_weight: float = 0.0  # paper 1.0; needs lpips_weights
    lpips_weights: str = ""  # file of the VGG16 LPIPS network
    gan_weight: float = 0.0  # paper 0.3
    gan_start: int = 50_000  # step at which the generator starts to see the discriminator
    gan_channels: int = 128  # base width of the PatchGAN
    gan_lecam: float = 0.05


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TrainConfig:
    """One training run: what `configs/*.py` return."""

    model: PretrainedConfig = dataclasses.field(default_factory=PretrainedConfig)
    varedit: VAREditTrainConfig = dataclasses.field(default_factory=VAREditTrainConfig)
    bsq: BSQTrainConfig = dataclasses.field(default_factory=BSQTrainConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    init_from: str = ""  # start from these weights (name or directory) instead of random ones
    steps: int = 1000
    seed: int = 0
    dtype: str = "bfloat16"  # compute dtype; parameters stay float32
    remat: bool = True  # recompute each block's activations in the backward pass
    ema_decay: float = 0.0  # 0 = off
    resume: str = "auto"  # auto | never
    log_every: int = 20
    sample_every: int = 500  # steps between sample sheets, 0 = off
    sample_rows: int = 8
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    tensorboard: bool = False  # needs tensorboardX
    wandb: str = ""  # project name; needs wandb

    def validate(self) -> None:
        """Raise ConfigError for any setting that cannot work."""
        self.model.validate()
        require(self.dtype in ("float32", "bfloat16"), f"dtype={self.dtype!r}: float32 or bfloat16")
        require(self.steps > 0, f"steps={self.steps}: expected a positive number")
        require(self.resume in ("auto", "never"), f"resume={self.resume!r}: expected auto or never")
        require(0 <= self.ema_decay < 1, f"ema_decay={self.ema_decay}: expected 0 <= value < 1")
        require(
            self.optim.schedule in ("constant", "cosine"),
            f"optim.schedule={self.optim.schedule!r}: expected constant or cosine",
        )
        require(
            self.optim.learning_rate > 0 and math.isfinite(self.optim.learning_rate),
            f"optim.learning_rate={self.optim.learning_rate}: expected a positive number",
        )
        require(
            self.optim.accumulate > 0 and self.data.batch_size % self.optim.accumulate == 0,
            f"data.batch_size={self.data.batch_size}: expected a multiple of "
            f"optim.accumulate={self.optim.accumulate}",
        )
        require(
            self.varedit.scale_weights in ("sqrt_area", "uniform"),
            f"varedit.scale_weights={self.varedit.scale_weights!r}: expected sqrt_area or uniform",
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
            scales=((1, 1), (2, 2), (4, 4), (6, 6), (8, 8)),
            drop_path=0.0,
        ),
        bsq=BSQConfig(bits=16, stride=8, base_channels=24, channel_mult=(1, 1, 2, 4), res_blocks=1),
        t5=T5Config(vocab_size=256, width=64, head_width=16, mlp_hidden=128, layers=2, heads=4),
        sample=SampleConfig(guidance=2.0, temperature=0.5, top_p=1.0),
    ),
}


def pick_preset(presets: dict[str, Any], name: str) -> Any:
    """The preset called `name`; ConfigError with the known names if there is none."""
    require(name in presets, f"unknown preset {name!r}: expected one of {', '.join(presets)}")
    return presets[name]


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as nested dicts, lists and scalars, ready for JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(cls: type, values: dict[str, Any], name: str = "config") -> Any:
    """Rebuild the dataclass `cls` from `to_dict`'s form.

    Raises:
      ConfigError: a key is unknown or missing; the message lists all of them.
    """
    require(isinstance(values, dict), f"{name}: expected an object, found {values!r}")
    hints = get_type_hints(cls)
    unknown, missing = sorted(values.keys() - hints.keys()), sorted(hints.keys() - values.keys())
    require(
        not unknown and not missing,
        f"{name} does not match {cls.__name__}: unknown keys {unknown}, missing keys {missing}",
    )
    return cls(**{k: _value(hints[k], v, f"{name}.{k}") for k, v in values.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    kinds = [t for t in get_args(hint) if dataclasses.is_dataclass(t)] or [hint]
    if value is not None and dataclasses.is_dataclass(kinds[0]):
        return from_dict(kinds[0], value, name)
    if isinstance(value, list):
        return tuple(_value(None, v, name) for v in value)
    allowed = get_args(hint) if get_origin(hint) is not tuple and get_args(hint) else (hint,)
    if value is None or isinstance(value, str | bool):
        ok = hint is None or type(value) in allowed
        require(ok, f"{name}={value!r}: expected {hint}")
    return value
