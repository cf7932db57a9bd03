"""Settings of the next-token systems, LlamaGen, EditAR and ERec: what travels with weights."""

import dataclasses
import math

from jaxedit.config.checks import require

PROMPT_STYLES = ("code", "paper", "toy")
PREFIXES = ("edit", "text", "class")
GUIDANCE_MODES = ("text", "joint", "dual")
NOISES = ("shared", "independent")
PROBABILITIES = ("guided", "cond", "truncated")
RECON_GUIDANCES = ("own", "shared", "none")
UPSAMPLINGS = ("nearest", "bilinear")
GUMBEL_KEYS = ("row", "batch")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class VQConfig:
    """Vector-quantised image tokenizer. Defaults: LlamaGen's VQ-16."""

    codes: int = 16384  # V, entries of the codebook
    code_width: int = 8  # channels of an entry
    base_channels: int = 128  # channels of the first level
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4)  # VQ-8: (1, 2, 2, 4)
    res_blocks: int = 2  # per level of the encoder; the decoder has one more
    latent_width: int = 256  # channels between encoder and quantiser
    unit_norm: bool = True  # latents and entries are compared as unit vectors

    @property
    def stride(self) -> int:
        """Pixels per token side: every level but the last halves."""
        return 2 ** (len(self.channel_mult) - 1)

    def validate(self) -> None:
        """Raise ConfigError for sizes that cannot work."""
        for name in ("codes", "code_width", "base_channels", "res_blocks", "latent_width"):
            value = getattr(self, name)
            require(value > 0, f"vq.{name}={value}: expected a positive number")
        require(
            len(self.channel_mult) > 0 and min(self.channel_mult) > 0,
            f"vq.channel_mult={self.channel_mult}: expected positive numbers",
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class EditARConfig:
    """LlamaGen / EditAR transformer. Defaults: EditAR as released (GPT-XL, 512 px)."""

    layers: int = 36  # blocks
    width: int = 1280  # D, channels of a token
    heads: int = 20  # of attention
    kv_heads: int = 0  # heads of keys and values; 0: as many as `heads`
    mlp_hidden: int = 3584  # channels inside the MLP
    codes: int = 16384  # V, vocabulary of image tokens
    grid: int = 32  # g, side of the image in tokens; N = g * g
    prefix: str = "edit"  # edit: [source N][text T]; text: [text T]; class: [class 1]
    text_tokens: int = 120  # T
    text_width: int = 2048  # channels of a text token
    classes: int = 0  # of the class prefix; LlamaGen 1000
    prompts: str = "code"  # of translation tasks: the release's code | the paper | toy
    distill_width: int = 768  # width of the teacher whose features are predicted; 0 = no such head
    rope_base: float = 10000.0  # of rotary positions
    norm_eps: float = 1e-5  # added to the variance in norms
    dropout: float = 0.1  # after attention and MLP; training only
    token_dropout: float = 0.1  # of text embeddings (edit) or of all embeddings; training only

    @property
    def head_width(self) -> int:
        """E, the width of one attention head."""
        return self.width // self.heads

    @property
    def groups(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def image_tokens(self) -> int:
        """N, tokens per image."""
        return self.grid * self.grid

    @property
    def prefix_tokens(self) -> int:
        """Positions before the first image token that is generated."""
        return {
            "edit": self.image_tokens + self.text_tokens,
            "text": self.text_tokens,
            "class": 1,
        }[self.prefix]

    def validate(self) -> None:
        """Raise ConfigError for sizes that do not divide and for unknown prefixes."""
        require(
            self.prefix in PREFIXES, f"editar.prefix={self.prefix!r}: expected one of {PREFIXES}"
        )
        require(
            self.prompts in PROMPT_STYLES,
            f"editar.prompts={self.prompts!r}: expected one of {PROMPT_STYLES}",
        )
        require(
            self.width % self.heads == 0 and self.head_width % 4 == 0,
            f"editar.width={self.width}, heads={self.heads}: width/heads must be a multiple of 4",
        )
        require(
            0 < self.groups <= self.heads and self.heads % self.groups == 0,
            f"editar.kv_heads={self.kv_heads}: expected a divisor of heads={self.heads}, or 0",
        )
        require(
            (self.classes > 0) == (self.prefix == "class"),
            f"editar.classes={self.classes}: expected classes for prefix='class' and 0 otherwise",
        )
        require(
            self.distill_width == 0 or self.grid % 2 == 0,
            f"editar.grid={self.grid}: expected an even number, or distill_width=0",
        )
        for name in ("dropout", "token_dropout"):
            value = getattr(self, name)
            require(0 <= value < 1, f"editar.{name}={value}: expected 0 <= value < 1")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class ViTConfig:
    """Vision transformer of DINO (v1) and DINOv2. Defaults: dinov2-base."""

    layers: int = 12  # blocks
    width: int = 768  # D, channels of a token
    heads: int = 12  # of attention
    mlp_hidden: int = 3072  # channels inside the MLP
    patch: int = 14  # pixels per patch side
    grid: int = 37  # side of the learnt position table, in patches
    layer_scale: bool = True  # v1 has none
    position_offset: float = 0.0  # patches added when the table is resized; v1's own code 0.1
    norm_eps: float = 1e-6  # added to the variance in norms

    def validate(self) -> None:
        """Raise ConfigError for sizes that cannot work."""
        for name in ("layers", "width", "heads", "mlp_hidden", "patch", "grid"):
            value = getattr(self, name)
            require(value > 0, f"vit.{name}={value}: expected a positive number")
        require(
            self.width % self.heads == 0,
            f"vit.width={self.width}: expected a multiple of vit.heads={self.heads}",
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TokenSampleConfig:
    """How the next token is drawn. Defaults: EditAR's inference."""

    guidance: float = 3.0  # 1 or less = off, as released; of `dual` any number counts
    guidance_mode: str = "text"  # null row drops: text | joint: text and image | dual: each in turn
    image_guidance: float = 1.5  # of `dual` only
    guidance_until: int = -1  # the last token (0 is the second one) that is guided; -1 = all
    temperature: float = 1.0  # below 1 draws likelier tokens
    top_k: int = 1000  # draw from the k likeliest tokens
    top_p: float = 1.0  # 1 = off
    greedy: bool = False  # take the likeliest token

    def validate(self, codes: int) -> None:
        """Raise ConfigError for settings outside their range; `codes` is V."""
        for name in ("guidance", "image_guidance"):
            value = getattr(self, name)
            require(_is_number(value), f"sample.{name}={value}: expected a finite number")
        require(
            self.guidance_mode in GUIDANCE_MODES,
            f"sample.guidance_mode={self.guidance_mode!r}: expected one of {GUIDANCE_MODES}",
        )
        require(
            _is_number(self.temperature) and self.temperature > 0,
            f"sample.temperature={self.temperature}: expected a positive number",
        )
        require(
            isinstance(self.top_k, int) and 1 <= self.top_k <= codes,
            f"sample.top_k={self.top_k}: expected 1 to {codes}, the size of the vocabulary",
        )
        require(
            _is_number(self.top_p) and 0 < self.top_p <= 1,
            f"sample.top_p={self.top_p}: expected a number in (0, 1] (1 = off)",
        )


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class ERecConfig:
    """Editing by reconstruction. Defaults: the paper, and the reading of it that we take."""

    recon_prompt: str = "reconstruct the image without changes"  # instruction of its path
    tau_js: float = 0.7  # bits; seeds of the edit mask
    tau_low: float = 3.0  # nats; NLL of the source token on the editing path: background below
    tau_high: float = 10.0  # nats; the same on the reconstruction path: background above
    dilation: int = 3  # side of the mask's neighbourhood; 1 = none
    use_nll_low: bool = True  # apply tau_low
    use_nll_high: bool = True  # apply tau_high
    noise: str = "shared"  # ablation: independent
    gumbel_key: str = "row"  # row: noise of a row's own seed | batch: one noise for all rows
    probabilities: str = "guided"  # of JS and NLL: guided | cond | truncated to the candidates
    recon_guidance: str = "own"  # null row of the reconstruction: own | shared: the edit's | none
    direct_replacement: bool = False  # ablation: where JS < tau_replace take the source token
    tau_replace: float = 0.3  # bits
    refine: bool = True  # off: the raw edit
    pixel_align: bool = True  # add the tokenizer's residual outside the mask
    upsampling: str = "nearest"  # of the mask: nearest | bilinear
    clip_decoded: bool = False  # clip both decoded pictures before the residual is added
    hard_paste: bool = False  # ours: the source's own pixels outside the mask

    def validate(self) -> None:
        """Raise ConfigError for thresholds that are not numbers and for unknown choices."""
        for name in ("tau_js", "tau_low", "tau_high", "tau_replace"):
            value = getattr(self, name)
            require(
                isinstance(value, int | float) and not math.isnan(value),
                f"erec.{name}={value}: expected a number",
            )
        require(
            isinstance(self.dilation, int) and self.dilation > 0 and self.dilation % 2 == 1,
            f"erec.dilation={self.dilation}: expected an odd number, 1 = none",
        )
        require(bool(self.recon_prompt.strip()), "erec.recon_prompt is empty: expected some words")
        choices = {
            "noise": NOISES,
            "gumbel_key": GUMBEL_KEYS,
            "probabilities": PROBABILITIES,
            "recon_guidance": RECON_GUIDANCES,
            "upsampling": UPSAMPLINGS,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            require(value in allowed, f"erec.{name}={value!r}: expected one of {allowed}")


def _is_number(value: object) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
