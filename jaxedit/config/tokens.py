"""Settings of the next-token networks LlamaGen, EditAR and DINO, which are stored with weights."""

import dataclasses
from typing import Literal

from jaxedit.config.checks import require
from jaxedit.config.fields import NonNegativeInt, Positive, PositiveInt, Share, check_fields

PromptStyle = Literal["code", "paper", "toy"]


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class VQConfig:
    """Vector-quantised image tokenizer. Defaults: LlamaGen's VQ-16."""

    codes: PositiveInt = 16384  # V, entries of the codebook
    code_width: PositiveInt = 8  # channels of an entry
    base_channels: PositiveInt = 128  # channels of the first level
    channel_mult: tuple[PositiveInt, ...] = (1, 1, 2, 2, 4)  # VQ-8: (1, 2, 2, 4)
    res_blocks: PositiveInt = 2  # per level of the encoder; decoder levels have one block more
    latent_width: PositiveInt = 256  # channels between encoder and quantiser
    unit_norm: bool = True  # latents and entries are compared as unit vectors

    @property
    def stride(self) -> int:
        """Return the pixels per token side: every level but the last halves."""
        return 2 ** (len(self.channel_mult) - 1)

    def validate(self) -> None:
        """Raise ConfigError for sizes that cannot work."""
        check_fields(self, "vq")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class EditARConfig:
    """LlamaGen / EditAR transformer. Defaults: EditAR as released (GPT-XL, 512 px)."""

    layers: PositiveInt = 36  # blocks
    width: PositiveInt = 1280  # D, channels of a token
    heads: PositiveInt = 20  # of attention
    kv_heads: NonNegativeInt = 0  # heads of keys and values; 0: as many as `heads`
    mlp_hidden: PositiveInt = 3584  # channels inside the MLP
    codes: PositiveInt = 16384  # V, vocabulary of image tokens
    grid: PositiveInt = 32  # g, side of the image in tokens; N = g * g
    # edit: [source N][text T]; text: [text T]; class: [class 1]
    prefix: Literal["edit", "text", "class"] = "edit"
    text_tokens: PositiveInt = 120  # T
    text_width: PositiveInt = 2048  # channels of a text token
    classes: NonNegativeInt = 0  # of the class prefix; LlamaGen 1000
    prompts: PromptStyle = "code"  # of translation tasks: the release's code | the paper | toy
    # width of the teacher whose features are predicted; 0 = no such head
    distill_width: NonNegativeInt = 768
    rope_base: Positive = 10000.0  # of rotary positions
    norm_eps: Positive = 1e-5  # added to the variance in norms
    dropout: Share = 0.1  # after attention and MLP; training only
    token_dropout: Share = 0.1  # of text embeddings (edit) or of all embeddings; training only

    @property
    def head_width(self) -> int:
        """Return E, the width of an attention head."""
        return self.width // self.heads

    @property
    def groups(self) -> int:
        """Return the number of heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def image_tokens(self) -> int:
        """Return N, the number of tokens per image."""
        return self.grid * self.grid

    @property
    def edited_grid(self) -> int:
        """Return the grid of an editor, whose position embeddings have its shape; else 0."""
        return self.grid if self.prefix == "edit" else 0

    @property
    def prefix_tokens(self) -> int:
        """Return the number of positions before the first image token that is generated."""
        lengths = {"edit": self.image_tokens + self.text_tokens, "text": self.text_tokens}
        return lengths.get(self.prefix, 1)

    def validate(self) -> None:
        """Raise ConfigError for sizes that do not divide and for unknown prefixes."""
        check_fields(self, "editar")
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


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class ViTConfig:
    """Vision transformer of DINO (v1) and DINOv2. Defaults: dinov2-base."""

    layers: PositiveInt = 12  # blocks
    width: PositiveInt = 768  # D, channels of a token
    heads: PositiveInt = 12  # of attention
    mlp_hidden: PositiveInt = 3072  # channels inside the MLP
    patch: PositiveInt = 14  # pixels per patch side
    grid: PositiveInt = 37  # side of the learnt position table, in patches
    layer_scale: bool = True  # v1 has none
    position_offset: float = 0.0  # patches added when the table is resized; v1's own code 0.1
    norm_eps: Positive = 1e-6  # added to the variance in norms

    def validate(self) -> None:
        """Raise ConfigError for sizes that cannot work."""
        check_fields(self, "vit")
        require(
            self.width % self.heads == 0,
            f"vit.width={self.width}: expected a multiple of vit.heads={self.heads}",
        )
