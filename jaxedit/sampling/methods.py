"""Sampling rules and sampling methods: a class each.

A *rule* removes unlikely candidates: it sets logits of tokens, or log-odds of bits, to infinities.
Its settings are a dataclass of the same name in `config.sampling`; `RULES` lists all of them, in
the order in which they apply. A *method* turns the logits of all rows of an image into its next
choice: guidance, temperature, rules, and the draw with noise that depends on seed and step alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, no_type_check, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Int32, Integer, Key

from jaxedit.config import SampleConfig, Scales, TokenSampleConfig
from jaxedit.config.sampling import MinPConfig, RuleConfig, TopKConfig, TopPConfig
from jaxedit.sampling.gumbel import choose, gumbel
from jaxedit.sampling.truncation import among_largest, in_nucleus

# Settings that may change without compiling again, by name: f32[] or i32[], f32[K] if per scale.
Numbers = Mapping[str, Any]
Number = Float[ArrayLike, ""]
Logits = Float[ArrayLike, "*n V"]
Values = Float[ArrayLike, "*n"]


@runtime_checkable
class SamplingMethod(Protocol):
    """The choice of the next bits or tokens; a pytree, so that jitted functions take it."""

    def __call__(self, logits: jax.Array, step: Any) -> tuple[jax.Array, Any]:
        """Choose for every row of B images.

        Args:
          logits: f32[B,R,V] of tokens, f32[B,R,n,Q,2] of the bits of a scale; R rows per image.
          step: i32[B], position of each image's token; or int, number of the scale.

        Returns:
          i32[B,R] tokens or bool[B,R,n,Q] bits, and what is recorded of the step, or None.
        """


class Rule(Protocol):
    """The removal of unlikely candidates; a rule of tokens alone has no `bits`."""

    settings: type[RuleConfig]

    @staticmethod
    def tokens(logits: Logits, numbers: Numbers) -> Logits:
        """Set the logits of removed tokens to -inf."""

    @staticmethod
    def bits(log_odds: Values, numbers: Numbers) -> Values:
        """Set the log-odds of bit 1 to +inf where 0 is removed, to -inf where 1 is removed."""


class TopK:
    """The k likeliest tokens, and all that tie with the last of them."""

    settings = TopKConfig

    @staticmethod
    def tokens(logits: Logits, numbers: Numbers) -> Logits:
        """See `Rule`."""
        return jnp.where(among_largest(logits, numbers["top_k"]), logits, -jnp.inf)


class TopP:
    """The candidates for which all likelier candidates together have a probability <= top_p.

    Of a bit's two values the less likely is removed if its probability is at most 1 - top_p. If
    both are equally likely 0 is removed, as in the release, whose ascending sort is stable.

    Source: The Curious Case of Neural Text Degeneration (Holtzman et al. 2020), section 3.1; ties
    as in the code of LlamaGen and Infinity.
    """

    settings = TopPConfig

    @staticmethod
    def tokens(logits: Logits, numbers: Numbers) -> Logits:
        """See `Rule`."""
        top_p = numbers["top_p"]

        def cut(x: jax.Array) -> jax.Array:
            return jnp.where(in_nucleus(x, top_p), x, -jnp.inf)

        return jax.lax.cond(top_p < 1, cut, lambda x: x, logits)

    @staticmethod
    def bits(log_odds: Values, numbers: Numbers) -> Values:
        """See `Rule`."""
        top_p, p = numbers["top_p"], jax.nn.sigmoid(log_odds)
        if_one = jnp.where(1 - p <= 1 - top_p, jnp.inf, log_odds)
        if_zero = jnp.where(p <= 1 - top_p, -jnp.inf, log_odds)
        return jnp.where(log_odds >= 0, if_one, if_zero)


class MinP:
    """The candidates that have at least the share min_p of the likeliest candidate's probability.

    Source: Turning Up the Heat: Min-p Sampling (Nguyen et al. 2025), section 3.
    """

    settings = MinPConfig

    @staticmethod
    def tokens(logits: Logits, numbers: Numbers) -> Logits:
        """See `Rule`."""
        least = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(numbers["min_p"])
        return jnp.where(logits >= least, logits, -jnp.inf)

    @staticmethod
    def bits(log_odds: Values, numbers: Numbers) -> Values:
        """See `Rule`."""
        is_sure = jnp.abs(log_odds) > -jnp.log(numbers["min_p"])
        return jnp.where(is_sure, jnp.copysign(jnp.inf, log_odds), log_odds)


RULES: tuple[type[Rule], ...] = (TopK, TopP, MinP)


def numbers_of(config: SampleConfig | TokenSampleConfig, scales: int = 0) -> Numbers:
    """Return the settings that are numbers, by name, but for those that change the program.

    `scales` is K for bits, whose guidance and temperature are f32[K]; 0 for tokens.
    """
    numbers: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if scales and field.name in ("guidance", "temperature"):
            numbers[field.name] = np.asarray(config.per_scale(field.name, scales), np.float32)
        elif scales and field.name == "guidance_until":
            continue  # compiled into the program
        elif not isinstance(value, bool | str) and not field.metadata.get("static"):
            is_index = isinstance(field.default, int)
            numbers[field.name] = (np.int32 if is_index else np.float32)(value)
    return numbers


def truncate(logits: Logits, numbers: Numbers) -> Logits:
    """Return the logits of the tokens that all rules keep, -inf elsewhere.

    >>> logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    >>> jnp.isfinite(truncate(logits, {"min_p": 0.5})).tolist()  # at least half of 0.5
    [True, True, False, False]
    >>> jnp.isfinite(truncate(logits, {"top_k": 1})).tolist()
    [True, False, False, False]
    """
    for rule in _rules_of(numbers):
        logits = rule.tokens(logits, numbers)
    return logits


def truncate_bits(log_odds: Values, numbers: Numbers) -> Values:
    """Return the log-odds of bit 1, infinite where the rules remove a value."""
    for rule in _rules_of(numbers):
        log_odds = rule.bits(log_odds, numbers)
    return log_odds


def _rules_of(numbers: Numbers) -> list[type]:
    """Return the rules whose settings are given."""
    return [r for r in RULES if {f.name for f in dataclasses.fields(r.settings)} <= numbers.keys()]


def guide_bits(cond: Values, uncond: Values, guidance: Number, temperature: Number) -> Values:
    """Return guided logits over the temperature.

    Args:
      cond: logits given the text.
      uncond: logits without the text.
      guidance: 1 = off.
      temperature: positive.

    Source: Classifier-Free Diffusion Guidance (Ho and Salimans 2022), equation 6.
    """
    return (guidance * cond + (1 - guidance) * uncond) / temperature


def guide_tokens(
    logits: Float[ArrayLike, "B R V"],
    guidance: Number,
    image_guidance: Number,
    is_guided: Bool[Array, " #B"] | Bool[Array, ""],
) -> Float[ArrayLike, "B V"]:
    """Return guided logits of a token.

    A single row is returned as it is. Of two rows the second has a condition dropped. Of three rows
    (dual guidance) the second has the text dropped, the third text and image.

    Args:
      logits: R rows per image.
      guidance: weight of what the text adds.
      image_guidance: weight of what the image adds; of three rows only.
      is_guided: False takes the first row alone; of all images or of each.

    Source: Ho and Salimans 2022, equation 6; Brooks et al. 2023 (InstructPix2Pix), equation 3.
    """
    R = logits.shape[1]
    cond = logits[:, 0]
    if R == 1:
        return cond
    guided = logits[:, 1] + guidance * (cond - logits[:, 1])
    if R == 3:
        guided = logits[:, 2] + image_guidance * (logits[:, 1] - logits[:, 2])
        guided = guided + guidance * (cond - logits[:, 1])
    return jnp.where(is_guided.reshape(-1, 1), guided, cond)


def is_guided(position: Int[ArrayLike, "*B"], until: Int[ArrayLike, ""]) -> Bool[ArrayLike, "*B"]:
    """Return whether the token at `position` is guided.

    `until` is the last token that is guided, counted from the second token; -1 = all.
    """
    return (until < 0) | (position - 1 <= until)


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TokenSampling:
    """The same token for all rows of an image, drawn from the guided logits.

    Attributes:
      seeds: random seed of each image.
      numbers: numbers of TokenSampleConfig.
      greedy: take the likeliest token.
    """

    seeds: Int[Array, " B"]
    numbers: Numbers
    greedy: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(
        self, logits: Float[Array, "B R V"], position: Integer[Array, " B"]
    ) -> tuple[Int32[Array, "B R"], None]:
        """See `SamplingMethod`; nothing is recorded."""
        n = self.numbers
        guided = guide_tokens(
            logits, n["guidance"], n["image_guidance"], is_guided(position, n["guidance_until"])
        )
        if self.greedy:
            token = jnp.argmax(guided, axis=-1).astype(jnp.int32)
        else:
            noise = gumbel(self.seeds, 0, position, logits.shape[-1])
            token = choose(truncate(guided / n["temperature"], n), noise)
        return jnp.broadcast_to(token[:, None], logits.shape[:2]), None


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BitSampling:
    """The same bits for all rows of an image, drawn from the guided logits.

    A scale with a single row, the one with the text, is not guided.

    Attributes:
      uniforms: numbers in [0,1) of every scale, see `draw_uniforms`; None takes the likelier value
        of each bit, 0 if both are equal.
      numbers: numbers of SampleConfig.
    """

    uniforms: tuple[Float32[Array, "B _ Q"], ...] | None
    numbers: Numbers

    def __call__(
        self, logits: Float[Array, "B R n Q 2"], scale: int
    ) -> tuple[Bool[Array, "B R n Q"], None]:
        """See `SamplingMethod`; nothing is recorded."""
        n = self.numbers
        guidance = n["guidance"][scale] if logits.shape[1] > 1 else jnp.float32(1)
        guided = guide_bits(logits[:, 0], logits[:, -1], guidance, n["temperature"][scale])
        if self.uniforms is None:
            bits = guided[..., 1] > guided[..., 0]
        else:
            log_odds = truncate_bits(guided[..., 1] - guided[..., 0], n)
            bits = self.uniforms[scale] < jax.nn.sigmoid(log_odds)
        return jnp.broadcast_to(bits[:, None], logits.shape[:-1]), None


def draw_uniforms(
    keys: Key[Array, " B"], scales: Scales, token_bits: int
) -> tuple[Float32[Array, "B _ {token_bits}"], ...]:
    """Draw uniform numbers in [0,1) for every bit of every scale.

    Args:
      keys: key of each image; scale k draws with `fold_in(key, k)`.
      scales: target schedule in tokens.
      token_bits: Q.
    """

    def draw(k: int, n: int) -> jax.Array:
        return jax.vmap(
            lambda key: jax.random.uniform(jax.random.fold_in(key, k), (n, token_bits))
        )(keys)

    return tuple(draw(k, h * w) for k, (h, w) in enumerate(scales))
