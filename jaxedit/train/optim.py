"""The optimizer: AdamW with clipping, warm-up, schedule, and weight decay by path."""

import re
from typing import Any

import optax

from jaxedit import tree
from jaxedit.config import OptimConfig

# Not decayed: biases, norms, scales and learnt constants; and all other parameters below rank 2.
# Embeddings of codes and words are decayed, as in LlamaGen.
NO_DECAY = re.compile(
    r"(.*/)?(bias|[a-z]+_bias|scale|uncond|pos_start|level_embed|pool/query)",
)
# Arrays of layers stacked by nn.scan have a further axis in front.
STACKED = re.compile(r"(.*/)?blocks/.*")


def decay_mask(params: tree.Tree) -> tree.Tree:
    """Return True where weight decay applies, by the path and the rank of one layer's array."""

    def decays(path: str, leaf: Any) -> bool:
        rank = len(leaf.shape) - bool(STACKED.fullmatch(path))
        return rank >= 2 and not NO_DECAY.fullmatch(path)

    return tree.map_with_path(decays, params)


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Return a linear warm-up from 0, then a constant, or a cosine down to `end_ratio`."""
    peak, warmup = config.learning_rate, config.warmup_steps
    after = (
        optax.constant_schedule(peak)
        if config.schedule == "constant"
        else optax.cosine_decay_schedule(peak, max(steps - warmup, 1), config.end_ratio)
    )
    if not warmup:
        return after
    # Step 0 already has a rate, 1 / warmup of the peak.
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Return clipping by the global norm, then AdamW with decay of the masked parameters.

    The schedule ends after `steps`, the length of the run.
    """
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate(config, steps),
            b1=config.beta1,
            b2=config.beta2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=decay_mask,
        ),
    )
