"""Settings of the models and of sampling, which are stored with weights."""

import dataclasses
import math
from typing import Literal

from jaxedit.config.checks import require
from jaxedit.config.clip import CLIPConfig
from jaxedit.config.families import BY_TYPE, family_of, require_type
from jaxedit.config.fields import Positive, PositiveInt, Share, check_fields
from jaxedit.config.metric_networks import InceptionConfig, LPIPSConfig
from jaxedit.config.sampling import ERecConfig, SampleConfig, ScaleERecConfig, TokenSampleConfig
from jaxedit.config.tokens import EditARConfig, ViTConfig, VQConfig

Scales = tuple[tuple[int, int], ...]  # ((h_1, w_1), ..., (h_K, w_K)), coarse to fine

# The square schedule of Infinity and VAREdit; 7, 10, 12 or 13 entries are 256, 512, 768 or 1024 px.
SQUARE_SCALES: Scales = tuple((n, n) for n in (1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64))


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class T5Config:
    """T5 v1.1 / Flan encoder (gated GELU). Defaults: flan-t5-xl."""

    vocab_size: PositiveInt = 32128  # entries of the text vocabulary
    width: PositiveInt = 2048  # d_model
    head_width: PositiveInt = 64  # d_kv
    mlp_hidden: PositiveInt = 5120  # d_ff
    layers: PositiveInt = 24  # blocks
    heads: PositiveInt = 32  # of attention
    position_buckets: PositiveInt = 32  # of relative positions
    position_max_distance: PositiveInt = 128  # tokens; larger distances share a bucket
    norm_eps: Positive = 1e-6  # added to the variance in norms

    def validate(self) -> None:
        """Raise ConfigError for sizes that cannot work."""
        check_fields(self, "t5")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class BSQConfig:
    """Multi-scale residual binary spherical tokenizer. Defaults: `infinity_vae_d32reg` (2B)."""

    bits: PositiveInt = 32  # channels of the latent = bits per latent position
    stride: PositiveInt = 16  # pixels per latent position; the first log2(stride) levels halve
    base_channels: PositiveInt = 128  # channels of the first level
    channel_mult: tuple[PositiveInt, ...] = (1, 2, 4, 4, 4)  # of each level, times base_channels
    res_blocks: PositiveInt = 2  # residual blocks per level

    def validate(self) -> None:
        """Raise ConfigError unless stride is a power of two that the levels can reach."""
        check_fields(self, "bsq")
        steps = math.log2(self.stride)
        require(
            steps == int(steps) and 0 <= steps < len(self.channel_mult),
            f"bsq.stride={self.stride}: expected a power of two below "
            f"2**{len(self.channel_mult)}, the number of levels of channel_mult",
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class VAREditConfig:
    """VAREdit / Infinity transformer. Defaults: 2B at 512 px as released."""

    depth: PositiveInt = 32  # blocks
    width: PositiveInt = 2048  # D, channels of a token
    heads: PositiveInt = 16  # of attention
    mlp_hidden: PositiveInt = 8192  # channels inside the MLP
    bits: PositiveInt = 32  # bits per latent position of the image tokenizer
    patchify: bool = False  # 2x2 latent positions are one token (8B)
    text_width: PositiveInt = 2048  # channels of a text token
    text_pool_heads: PositiveInt = 16  # heads of the attention that pools the text
    max_text_tokens: PositiveInt = 512  # longest text
    levels: PositiveInt = 15  # rows of the level embedding
    # paper: sar; ablations: finest, full; none: Infinity, no editor
    conditioning: Literal["sar", "finest", "full", "none"] = "sar"
    # released weights: release; trained from here: grid
    rope_mode: Literal["grid", "release"] = "release"
    rope_base: Positive = 10000.0  # of rotary positions
    rope_scales: Scales = SQUARE_SCALES  # the 1M schedule from which rotary positions are taken
    scales: Scales = SQUARE_SCALES[:10]  # default schedule, in tokens
    drop_path: Share = 0.1  # linear over depth; training only
    norm_eps: Positive = 1e-6  # added to the variance in norms

    @property
    def head_width(self) -> int:
        """Return E, the width of an attention head."""
        return self.width // self.heads

    @property
    def text_tokens(self) -> int:
        """Return T, the tokens of the longest text."""
        return self.max_text_tokens

    @property
    def init_std(self) -> float:
        """Return the standard deviation of a new kernel.

        The release truncates at +-2, far outside this distribution, so that here nothing is
        truncated.
        """
        return math.sqrt(1 / (3 * self.width))

    @property
    def token_bits(self) -> int:
        """Return Q, the number of bits of a token."""
        return self.bits * (4 if self.patchify else 1)

    @property
    def latent_scales(self) -> Scales:
        """Return `scales` in latent positions of the tokenizer instead of tokens."""
        f = 2 if self.patchify else 1
        return tuple((f * h, f * w) for h, w in self.scales)

    def source_scales(self, scales: Scales) -> Scales:
        """Return the grids of the source tokens: no grid, all of `scales` (full), or the last."""
        return {"none": (), "full": scales}.get(self.conditioning, scales[-1:])

    def validate(self) -> None:
        """Raise ConfigError for sizes that do not divide and for unknown or impossible modes."""
        check_fields(self, "varedit")
        require(
            self.width % self.heads == 0 and self.head_width % 4 == 0,
            f"varedit.width={self.width}, heads={self.heads}: width/heads must be a multiple of 4",
        )
        require(self.depth > 1, f"varedit.depth={self.depth}: expected at least 2")
        require(
            self.width % self.text_pool_heads == 0,
            f"varedit.text_pool_heads={self.text_pool_heads}: must divide width={self.width}",
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
class PretrainedConfig:
    """Settings stored with weights: everything that inference needs."""

    model_type: str = "varedit"  # of a family, see `families`
    # how pictures become squares, in training and in editing: pad: on a white square | crop: the
    # middle; empty: as released, pad for varedit, crop for the others
    fit: Literal["pad", "crop", ""] = ""
    varedit: VAREditConfig | None = None
    bsq: BSQConfig | None = None
    t5: T5Config | None = None
    sample: SampleConfig | None = None
    editar: EditARConfig | None = None
    vq: VQConfig | None = None
    token_sample: TokenSampleConfig | None = None
    erec: ERecConfig | None = None
    scale_erec: ScaleERecConfig | None = None  # None: its defaults
    vit: ViTConfig | None = None
    clip: CLIPConfig | None = None
    lpips: LPIPSConfig | None = None
    inception: InceptionConfig | None = None

    def __post_init__(self) -> None:
        """Fill in the defaults of the release of this model type."""
        family = BY_TYPE.get(self.model_type)
        self.fit = self.fit or (family.fit if family else "crop")

    def validate(self) -> None:
        """Raise ConfigError if a part is missing, invalid, or does not fit another part."""
        require_type(self.model_type)
        check_fields(self)
        parts = {name: getattr(self, name) for name in family_of(self).parts}
        for name, part in parts.items():
            require(part is not None, f"{self.model_type} config lacks {name!r}")
        if self.scale_erec is not None:
            parts["scale_erec"] = self.scale_erec
        for name, part in parts.items():
            part.validate(*self.limits_of(name))
        family_of(self).check(self)

    def limits_of(self, part: str) -> tuple[int, ...]:
        """Return the arguments of a part's `validate`: the number of scales or of codes."""
        if part == "sample":
            return (len(self.varedit.scales),)
        return (self.editar.codes,) if part == "token_sample" else ()
