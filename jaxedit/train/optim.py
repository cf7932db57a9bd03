"""AdamW: clipping, warm-up, schedule, decay by path."""

import re

import jax.numpy as jnp
import optax

from jaxedit import tree
from jaxedit.config import OptimConfig

# Never decayed: biases, norms, scales and learnt constants. Other parameters below rank 2 neither.
# Embeddings of codes and words are decayed, as in LlamaGen.
NO_DECAY = re.compile(
    r"(.*/)?(bias|[a-z]+_bias|scale|uncond|pos_start|level_embed|pool/query)",
)
# Layers stacked by nn.scan have one axis more than one layer has.
STACKED = re.compile(r"(.*/)?blocks/.*")


def decay_mask(params: tree.Tree) -> tree.Tree:
    """Return True where weight decay applies, by the path and the rank of one layer's array."""

    def decays(path: str, leaf: jnp.ndarray) -> bool:
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
    # The first step already moves: step 0 has 1 / warmup of the peak.
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip the global norm, then AdamW with decoupled decay on the masked parameters.

    Args:
      config: the optimiser's settings.
      steps: length of the run, where the schedule ends.
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
