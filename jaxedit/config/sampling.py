"""Settings of sampling and of ERec, which are stored with weights and may be changed per edit.

A rule that removes unlikely candidates is a dataclass in this module and a class in
`sampling.methods`. The settings of next-scale and of next-token models inherit the rules that they
offer, and with them the rules' options, ranges and records.
"""

import dataclasses
from typing import Annotated, Literal

from jaxedit.config.checks import require
from jaxedit.config.fields import (
    Finite,
    Interval,
    Positive,
    PositiveInt,
    Probability,
    Threshold,
    check_fields,
)

Side = Annotated[int, Interval("[1, 255]")]  # of a neighbourhood; 255 covers the largest grids


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class RuleConfig:
    """Settings of a rule; weights stored before the rule existed do not use it."""


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TopKConfig(RuleConfig):
    """Keep the k most likely candidates."""

    top_k: PositiveInt = 1000  # draw from the k likeliest tokens


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TopPConfig(RuleConfig):
    """Keep the most likely candidates whose probabilities add up to p."""

    top_p: Annotated[float, Interval("(0, 1]")] = 1.0  # nucleus, 1 = off


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class MinPConfig(RuleConfig):
    """Keep candidates whose probability is at least a share of the most likely candidate's."""

    # drop candidates below this share of the highest probability, 0 = off
    min_p: Annotated[float, Interval("[0, 1]")] = 0.0


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class SampleConfig(TopPConfig, MinPConfig):
    """Settings for drawing bits; a scalar holds for every scale, a tuple has an entry per scale."""

    # strength of the instruction, 1 = none; also one number per scale; paper 4
    guidance: Finite | tuple[Finite, ...] = 4.0
    # below 1 draws likelier bits; also one number per scale; paper 0.5
    temperature: Positive | tuple[Positive, ...] = 0.5
    top_p: Annotated[float, Interval("(0, 1]")] = 0.97  # nucleus, 1 = off; VAREdit 0.97
    greedy: bool = False  # always take the likelier value of each bit
    # number of the last guided scale, where 0 is the coarsest; -1 = all are guided
    guidance_until: Annotated[int, Interval("[-1, inf)")] = dataclasses.field(
        default=-1, metadata={"later": True}
    )

    @property
    def guided(self) -> int | None:
        """Return the number of scales that are guided, None for all; they are the coarsest."""
        return None if self.guidance_until < 0 else self.guidance_until + 1

    def per_scale(self, name: str, scales: int) -> tuple[float, ...]:
        """Return the setting `name` as a float per scale; raise ConfigError if it does not fit."""
        value = getattr(self, name)
        values = tuple(value) if isinstance(value, tuple | list) else (value,) * scales
        require(
            len(values) == scales,
            f"sample.{name}={value}: expected one number or {scales} numbers, one per scale",
        )
        return tuple(float(v) for v in values)

    def validate(self, scales: int) -> None:
        """Raise ConfigError for settings outside their range."""
        check_fields(self, "sample")
        for name in ("guidance", "temperature"):
            self.per_scale(name, scales)


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class TokenSampleConfig(TopKConfig, TopPConfig, MinPConfig):
    """Settings for drawing the next token. Defaults: EditAR's inference."""

    # strength of the instruction; 1 or less = none, as released, except in the mode `dual`
    guidance: Finite = 3.0
    # the unguided row is without: text | joint: text and image | dual: each in turn
    guidance_mode: Literal["text", "joint", "dual"] = "text"
    image_guidance: Finite = 1.5  # strength of the source picture, of `dual` only
    # number of the last guided token, where 0 is the second token; -1 = all are guided
    guidance_until: Annotated[int, Interval("[-1, inf)")] = -1
    temperature: Positive = 1.0  # below 1 draws likelier tokens
    greedy: bool = False  # always take the likeliest token
    # one token after another | several at once, guessed and verified: the same tokens
    decode: Literal["sequential", "windows"] = dataclasses.field(
        default="sequential", metadata={"later": True}
    )
    # number of tokens that `windows` runs at once
    window: Annotated[int, Interval("[2, 64]")] = dataclasses.field(
        default=8, metadata={"later": True, "static": True}
    )

    def validate(self, codes: int) -> None:
        """Raise ConfigError for settings outside their range; `codes` is V."""
        require(
            not isinstance(self.top_k, int) or 1 <= self.top_k <= codes,
            f"sample.top_k={self.top_k}: expected 1 to {codes}, the size of the vocabulary",
        )
        check_fields(self, "sample")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class ERecConfig:
    """Editing by reconstruction. Defaults: the paper, as interpreted here."""

    # instruction of the reconstruction path
    recon_prompt: str = "reconstruct the image without changes"
    tau_js: Threshold = 0.7  # bits of JS divergence that seed the edit mask
    tau_low: Threshold = 3.0  # nats: background where the edit gives the source token less NLL
    tau_high: Threshold = 10.0  # nats: background where the reconstruction gives it more NLL
    dilation: Side = 3  # side of the neighbourhood that grows the mask, odd; 1 = none
    use_nll_low: bool = True  # apply tau_low
    use_nll_high: bool = True  # apply tau_high
    noise: Literal["shared", "independent"] = "shared"  # Gumbel noise of the two paths
    gumbel_key: Literal["row", "batch"] = "row"  # noise by each row's seed | equal for all rows
    # of JS and NLL: guided | cond: before guidance | truncated to the candidates
    probabilities: Literal["guided", "cond", "truncated"] = "guided"
    # unguided row of the reconstruction path: own | shared: the edit's | none
    recon_guidance: Literal["own", "shared", "none"] = "own"
    direct_replacement: bool = False  # ablation: take the source token wherever JS < tau_replace
    tau_replace: Threshold = 0.3  # bits, of direct_replacement
    # if a mask is given: edit where both masks allow it | where the given mask does
    mask_mode: Literal["intersection", "given"] = dataclasses.field(
        default="intersection", metadata={"later": True}
    )
    refine: bool = True  # restore the background; off: the raw edit
    pixel_align: bool = True  # add the tokenizer's residual outside the mask
    upsampling: Literal["nearest", "bilinear"] = "nearest"  # of the mask
    clip_decoded: bool = False  # clip decoded pictures before the residual is added
    hard_paste: bool = False  # ours: copy the source's pixels outside the mask

    def validate(self) -> None:
        """Raise ConfigError for thresholds that are not numbers and for unknown choices."""
        check_fields(self, "erec")
        require(
            self.dilation % 2 == 1,
            f"erec.dilation={self.dilation}: expected an odd number, 1 = none",
        )
        require(bool(self.recon_prompt.strip()), "erec.recon_prompt is empty: expected some words")


@dataclasses.dataclass(unsafe_hash=True, kw_only=True)
class ScaleERecConfig(ERecConfig):
    """Settings of ERec for next-scale models. Defaults: ours, measured on toybox."""

    tau_low: Threshold = 10.0  # nats, of a token's bits together
    tau_high: Threshold = 100.0  # nats, of a token's bits together
    # side of the neighbourhood in which the largest JS counts, odd; 1 = none
    dilation: Side = 1
    growth: Side = 3  # side of the neighbourhood that grows the final mask, odd; 1 = none
    # two: the mask of all scales, then the edit again inside it | one: the mask of the coarse
    # scales holds for the fine scales, and the reconstruction needs no fine scales
    passes: Literal["one", "two"] = "two"
    mask_from: Probability = 0.25  # coarser grids than this share of the finest decide nothing
    mask_until: Probability = 0.5  # the finest grid that decides, of one pass
    # of direct_replacement: tokens with JS < tau_replace | bits whose probability differs by less
    # between source and edit (AREdit) | none, but noise that makes the source's bits (VARIN)
    replacement: Literal["tokens", "bits", "noise"] = "tokens"

    def validate(self) -> None:
        """Raise ConfigError for settings outside their range."""
        super().validate()
        require(
            self.growth % 2 == 1, f"erec.growth={self.growth}: expected an odd number, 1 = none"
        )
        require(
            self.mask_from <= self.mask_until,
            f"erec.mask_from={self.mask_from}: expected at most mask_until={self.mask_until}",
        )
