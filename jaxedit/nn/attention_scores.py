"""The attention scores between blocks of tokens, measured under any attention pattern."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from jaxedit.nn.attention import AttentionPattern
from jaxedit.nn.kernels import Queries
from jaxedit.nn.kv_cache import KeysValues


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Measured:
    """A pattern that attends as another pattern does, and keeps the scores between blocks.

    Attention averages values by its scores. If the values only mark the block of each key, their
    average is the sum of the scores in each block, whatever the pattern masks or pools.

    Attributes:
      pattern: the other pattern, over a sequence from its start.
      blocks: lengths of the blocks, which sum to S.
    """

    pattern: AttentionPattern
    blocks: tuple[int, ...]

    def __call__(
        self, queries: Queries, new: KeysValues, past: None
    ) -> tuple[Queries, Float32[Array, "B G G"]]:
        """Attend, and return the scores from each block of queries to each block of keys.

        The score from block i to block j is the sum over the keys of j, and the mean over heads
        and over the queries of i: each row sums to 1.
        """
        attended, _ = self.pattern(queries, new, past)
        q, k = queries.astype(jnp.float32), new.keys.astype(jnp.float32)
        blocks, width = len(self.blocks), k.shape[-1]
        block = np.repeat(np.arange(blocks), self.blocks)
        found = []
        for first in range(0, blocks, width):  # values are as wide as keys
            marks = block[:, None] == np.arange(first, first + width)  # [S,E]
            values = jnp.broadcast_to(jnp.asarray(marks, jnp.float32), k.shape)
            found.append(self.pattern(q, KeysValues(k, values), past)[0])
        scores = jnp.concatenate(found, axis=-1)[..., :blocks].mean(1)  # [B,S,G]
        of_block = (np.arange(blocks)[:, None] == block) / np.array(self.blocks)[:, None]
        highest = jax.lax.Precision.HIGHEST
        mean = jnp.asarray(of_block, jnp.float32)  # [G,S]
        return attended, jnp.einsum("is,bsj->bij", mean, scores, precision=highest)
