"""Which activations of a block the backward pass computes again instead of keeping them."""

import flax.linen as nn
import jax


def rematerialised(block: type[nn.Module], kind: str) -> type[nn.Module]:
    """The block with less to keep, for use in a scan over layers.

    Args:
      block: a module.
      kind: what is computed again: "all"; "cheap": all but products with weights; or "none".
    """
    if kind == "none":
        return block
    keep = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    return nn.remat(block, prevent_cse=False, policy=keep if kind == "cheap" else None)
