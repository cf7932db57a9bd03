"""How the next bits or tokens are chosen: one class a rule, one class a method.

A *rule* removes unlikely candidates: it sets logits of tokens, or log-odds of bits, to infinities.
Its settings are a dataclass of the same name in `config.sampling`; `RULES` lists all of them, in
the order in which they apply. A *method* turns the logits of all rows of a picture into its next
choice: guidance, temperature, rules, and the draw with noise that depends on seed and step alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.config import SampleConfig, TokenSampleConfig
from jaxedit.config.sampling import MinPConfig, RuleConfig, TopKConfig, TopPConfig
from jaxedit.sampling.gumbel import choose, gumbel
from jaxedit.sampling.truncation import among_largest, in_nucleus

# Settings that may change without compiling again, by name: f32[] or i32[], f32[K] if per scale.
Numbers = Mapping[str, Any]


class SamplingMethod(Protocol):
    """Choose the next bits or tokens; a pytree, so that jitted functions take it."""

    def __call__(self, logits: jax.Array, step: Any) -> tuple[jax.Array, Any]:
        """Choose for every row of B pictures.

        Args:
          logits: f32[B,R,V] of tokens, f32[B,R,n,Q,2] of the bits of a scale; R rows per picture.
          step: i32[], position of the token; or int, number of the scale.

        Returns:
          i32[B,R] tokens or bool[B,R,n,Q] bits, and what is recorded of the step, or None.
        """


class Rule(Protocol):
    """Remove unlikely candidates; a rule of tokens alone has no `bits`."""

    settings: type[RuleConfig]

    @staticmethod
    def tokens(logits: jax.Array, numbers: Numbers) -> jax.Array:
        """Return logits f32[...,V], -inf for removed tokens."""

    @staticmethod
    def bits(log_odds: jax.Array, numbers: Numbers) -> jax.Array:
        """Return f32[...], log-odds of bit 1: +inf where 0 is removed, -inf where 1 is."""


class TopK:
    """Keep every token that ties with the k-th likeliest, or is likelier."""

    settings = TopKConfig

    @staticmethod
    def tokens(logits: jax.Array, numbers: Numbers) -> jax.Array:
        """See `Rule`."""
        return jnp.where(among_largest(logits, numbers["top_k"]), logits, -jnp.inf)


class TopP:
    """Keep candidates if the likelier ones together have a probability of at most top_p.

    Of a bit's two values the less likely one is dropped if its probability is at most 1 - top_p. If
    both are equally likely 0 is dropped, as in the release, whose ascending sort is stable.

    Source: The Curious Case of Neural Text Degeneration (Holtzman et al. 2020), section 3.1; ties
    as in the code of LlamaGen and Infinity.
    """

    settings = TopPConfig

    @staticmethod
    def tokens(logits: jax.Array, numbers: Numbers) -> jax.Array:
        """See `Rule`."""
        top_p = numbers["top_p"]

        def cut(x: jax.Array) -> jax.Array:
            return jnp.where(in_nucleus(x, top_p), x, -jnp.inf)

        return jax.lax.cond(top_p < 1, cut, lambda x: x, logits)

    @staticmethod
    def bits(log_odds: jax.Array, numbers: Numbers) -> jax.Array:
        """See `Rule`."""
        top_p, p = numbers["top_p"], jax.nn.sigmoid(log_odds)
        if_one = jnp.where(1 - p <= 1 - top_p, jnp.inf, log_odds)
        if_zero = jnp.where(p <= 1 - top_p, -jnp.inf, log_odds)
        return jnp.where(log_odds >= 0, if_one, if_zero)


class MinP:
    """Keep candidates that have at least the share min_p of the likeliest one's probability.

    Source: Turning Up the Heat: Min-p Sampling (Nguyen et al. 2025), section 3.
    """

    settings = MinPConfig

    @staticmethod
    def tokens(logits: jax.Array, numbers: Numbers) -> jax.Array:
        """See `Rule`."""
        least = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(numbers["min_p"])
        return jnp.where(logits >= least, logits, -jnp.inf)

    @staticmethod
    def bits(log_odds: jax.Array, numbers: Numbers) -> jax.Array:
        """See `Rule`."""
        is_sure = jnp.abs(log_odds) > -jnp.log(numbers["min_p"])
        return jnp.where(is_sure, jnp.copysign(jnp.inf, log_odds), log_odds)


RULES: tuple[type[Rule], ...] = (TopK, TopP, MinP)


def numbers_of(config: SampleConfig | TokenSampleConfig, scales: int = 0) -> Numbers:
    """Return the settings that are numbers, by name.

    Args:
      config: settings of bits or tokens.
      scales: K, of bits, whose guidance and temperature are f32[K]; else 0.
    """
    numbers: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if scales and field.name in ("guidance", "temperature"):
            numbers[field.name] = np.asarray(config.per_scale(field.name, scales), np.float32)
        elif not isinstance(value, bool | str):
            is_index = isinstance(field.default, int)
            numbers[field.name] = (np.int32 if is_index else np.float32)(value)
    return numbers


def truncate(logits: jax.Array, numbers: Numbers) -> jax.Array:
    """Return logits f32[...,V] of the tokens that all rules keep, -inf elsewhere."""
    for rule in _rules_of(numbers):
        logits = rule.tokens(logits, numbers)
    return logits


def truncate_bits(log_odds: jax.Array, numbers: Numbers) -> jax.Array:
    """Return log-odds f32[...] of bit 1, infinite where the rules remove a value."""
    for rule in _rules_of(numbers):
        log_odds = rule.bits(log_odds, numbers)
    return log_odds


def _rules_of(numbers: Numbers) -> list[type[Rule]]:
    """The rules whose settings are there."""
    return [r for r in RULES if {f.name for f in dataclasses.fields(r.settings)} <= numbers.keys()]


def guide_bits(
    cond: jax.Array, uncond: jax.Array, guidance: jax.Array, temperature: jax.Array
) -> jax.Array:
    """Return guided logits over the temperature, f32[...] like both logits.

    Args:
      cond: f32[...], logits given the text.
      uncond: f32[...], logits without it.
      guidance: f32[], 1 = off.
      temperature: f32[], positive.

    Source: Classifier-Free Diffusion Guidance (Ho and Salimans 2022), equation 6.
    """
    return (guidance * cond + (1 - guidance) * uncond) / temperature


def guide_tokens(
    logits: jax.Array, guidance: jax.Array, image_guidance: jax.Array, is_guided: jax.Array
) -> jax.Array:
    """Return guided logits f32[B,V] of one token.

    A single row is returned as it is. Of two rows the second has a condition dropped; of three
    (dual) the second has the text dropped, the third text and image.

    Args:
      logits: f32[B,R,V], R rows per picture.
      guidance: f32[], weight of what the text adds.
      image_guidance: f32[], weight of what the image adds; of three rows only.
      is_guided: bool[]; False takes the first row alone.

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
    return jnp.where(is_guided, guided, cond)


def is_guided(position: jax.Array, until: jax.Array) -> jax.Array:
    """Return whether the token at `position` is guided.

    Args:
      position: i32[].
      until: i32[], the last token that is guided, counted from the second one; -1 = all.
    """
    return (until < 0) | (position - 1 <= until)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TokenSampling:
    """All rows of a picture take the same token, drawn from the guided logits.

    Attributes:
      seeds: i32[B].
      numbers: of TokenSampleConfig.
      greedy: take the likeliest token.
    """

    seeds: jax.Array
    numbers: Numbers
    greedy: bool = dataclasses.field(default=False, metadata={"static": True})

    def __call__(self, logits: jax.Array, position: jax.Array) -> tuple[jax.Array, None]:
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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BitSampling:
    """Both rows of a picture take the same bits, drawn one by one from the guided logits.

    Attributes:
      uniforms: per scale f32[B,n_k,Q] in [0,1), see `draw_uniforms`; None takes the likelier value
        of each bit, 0 if both are equal.
      numbers: of SampleConfig.
    """

    uniforms: tuple[jax.Array, ...] | None
    numbers: Numbers

    def __call__(self, logits: jax.Array, scale: int) -> tuple[jax.Array, None]:
        """See `SamplingMethod`; nothing is recorded."""
        n = self.numbers
        guided = guide_bits(
            logits[:, 0], logits[:, 1], n["guidance"][scale], n["temperature"][scale]
        )
        if self.uniforms is None:
            bits = guided[..., 1] > guided[..., 0]
        else:
            log_odds = truncate_bits(guided[..., 1] - guided[..., 0], n)
            bits = self.uniforms[scale] < jax.nn.sigmoid(log_odds)
        return jnp.broadcast_to(bits[:, None], logits.shape[:-1]), None


def draw_uniforms(
    keys: jax.Array, sizes: tuple[tuple[int, int], ...], token_bits: int
) -> tuple[jax.Array, ...]:
    """Return uniform numbers f32[B,n_k,Q] of every scale for keys key[B].

    Args:
      keys: one per picture; scale k draws with `fold_in(key, k)`.
      sizes: target schedule in tokens, (height, width) of every scale.
      token_bits: Q.
    """

    def draw(k: int, n: int) -> jax.Array:
        return jax.vmap(
            lambda key: jax.random.uniform(jax.random.fold_in(key, k), (n, token_bits))
        )(keys)

    return tuple(draw(k, h * w) for k, (h, w) in enumerate(sizes))
