"""Small layers: norms, modulation, dropout, dense maps, the MLP, embedding tables, remat."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, no_type_check

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jaxtyping import Array, ArrayLike, Float, Float32, Int, Key

from jaxedit.nn.kernel_product import Maps, multiply
from jaxedit.ops.int8 import Int8
from jaxedit.ops.interleaved import Interleaved
from jaxedit.ops.low_rank import LowRank
from jaxedit.sharding.rules import activation_spec, axes_of, gather, param_spec


def layer_norm(x: Float[ArrayLike, "*n D"], eps: float) -> Float32[Array, "*n D"]:
    """Normalise to zero mean and unit variance over the last axis, without parameters.

    Source: Layer Normalization (Ba et al.), equation 3.
    """
    x = x.astype(jnp.float32)
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)


def rms_norm(
    x: Float[ArrayLike, "B S D"], scale: Float[ArrayLike, " D"], eps: float
) -> Float32[Array, "B S D"]:
    """Return `x / rms(x) * scale`, normalised over the last axis.

    Source: Root Mean Square Layer Normalization (Zhang and Sennrich), equation 4.
    """
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * scale[None, None]


def modulate(
    x: Float[ArrayLike, "B S D"],
    scale: Float[Array, "B D"],
    shift: Float[Array, "B D"],
    eps: float,
) -> Float32[Array, "B S D"]:
    """Return `LN(x) * (1 + scale) + shift`, an adaptive layer norm; eps is added to the variance.

    Source: Scalable Diffusion Models with Transformers (DiT), section 3.2.
    """
    return layer_norm(x, eps) * (1 + scale[:, None]) + shift[:, None]


def drop_path(
    x: Float[Array, " B *n"], rate: Float[Array, ""], key: Key[Array, ""]
) -> Float[Array, " B *n"]:
    """Zero whole rows with probability `rate`, and scale up the others."""
    keep = jax.random.bernoulli(key, 1 - rate, (x.shape[0],) + (1,) * (x.ndim - 1))
    return jnp.where(keep, x / (1 - rate), 0)


def dropout(
    x: Float[Array, "*n"], rate: float | Float[Array, ""], key: Key[Array, ""]
) -> Float[Array, "*n"]:
    """Zero single values with probability `rate`, and scale up the others."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def exact(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let no device round float32 to fewer bits in the products of `method`.

    By default a TPU multiplies float32 as bfloat16, and an NVIDIA card as TF32.
    """

    @functools.wraps(method)
    def multiply_exactly(*args: Any, **kwargs: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return method(*args, **kwargs)

    return multiply_exactly


class RMSNorm(nn.Module):
    """`rms_norm` with a learnt scale."""

    eps: float

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "B S D"]) -> Float32[Array, "B S D"]:
        """Normalise tokens."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        return rms_norm(x, scale, self.eps)


class LayerNorm(nn.Module):
    """`layer_norm` with a learnt scale and bias."""

    eps: float

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "B S D"]) -> Float32[Array, "B S D"]:
        """Normalise tokens."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return layer_norm(x, self.eps) * scale[None, None] + bias[None, None]


def dense(
    features: int,
    std: float,
    dtype: Any,
    *,
    name: str | None = None,
    use_bias: bool = True,
    parts: int = 0,
    maps: Maps | None = None,
    head_width: int = 0,
    wide: bool = False,
) -> nn.Dense:
    """Return a dense map; its kernel may also be an `Int8`, a `LowRank` or an `Interleaved`.

    Args:
      features: width of the output.
      std: deviation of the normal numbers with which the kernel starts; the bias starts at zero.
      dtype: of the operands of the product.
      name: of the module.
      use_bias: add a bias.
      parts: number of maps that the kernel holds side by side, without a bias; the result is
        [..., parts, features / parts], and a mesh cuts the width of each map. 0: a single map.
      maps: what the kernel holds side by side, without a bias; the result is a tuple, see
        `packed_dense`.
      head_width: E, if the input's channels are heads side by side, which a TPU then reads where
        attention wrote them, and does not move first; else 0.
      wide: return the sums as they are added up, in f32 whatever `dtype` is.
    """
    return _Dense(
        features,
        use_bias,
        dtype=dtype,
        kernel_init=nn.initializers.normal(std),
        promote_dtype=_promote,
        dot_general=functools.partial(
            multiply, parts=parts, maps=maps, head_width=head_width, wide=wide
        ),
        name=name,
    )


def packed_dense(
    widths: Sequence[int],
    std: float,
    dtype: Any,
    *,
    name: str,
    first: int = 0,
    head_width: int = 0,
    wide: bool = False,
) -> Callable[[jax.Array], tuple[jax.Array, ...]]:
    """Return several dense maps without biases, whose weights lie side by side in one kernel.

    A `wide` product is of a few rows and is cut after it is computed. Otherwise each map is a
    product of its own, so that a mesh cuts the width of each, and that a TPU writes heads where
    attention reads them: queries, keys and values of GPT-XL take 1.2 ms of the forward and backward
    pass of a layer (estimated for v5p, 2 rows), and 1.9 ms from one product that is cut. Parts of a
    wide kernel would be copied: a decoding step, compiled for v5e, takes 2.90 ms with parts and
    2.06 ms without.

    Args:
      widths: of the maps.
      std: as for `dense`.
      dtype: as for `dense`.
      name: of the module.
      first: number of the first map that is computed; the maps before are skipped.
      head_width: E; 0: the results are not divided into heads.
      wide: as for `dense`.

    Returns:
      A function of x [B,S,D] that returns [B,S,width], or [B,S,width/E,E], for each map from
      `first` on.
    """
    maps = Maps(tuple(widths), first, head_width)
    return dense(sum(widths), std, dtype, name=name, use_bias=False, maps=maps, wide=wide)


@no_type_check  # it inherits fields whose protocols cannot be checked
class _Dense(nn.Dense):
    """`nn.Dense`; on a mesh each device first gathers the kernel, in the compute dtype."""

    def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return the parameter, as `nn.Module` does."""
        value = super().param(name, *args, **kwargs)
        is_whole = jax.sharding.get_abstract_mesh().empty or self.is_initializing()
        if name != "kernel" or is_whole or isinstance(value, Int8 | Interleaved):
            return value
        axes = axes_of("/".join((*self.path, name)))
        if isinstance(value, LowRank):
            return dataclasses.replace(value, kernel=gather(value.kernel.astype(self.dtype), axes))
        return gather(value.astype(self.dtype), axes)


def _promote(x: Any, kernel: Any, bias: Any, *, dtype: Any) -> Sequence[Any]:
    """Convert all to `dtype`; the integers of an `Int8` stay integers."""
    if isinstance(kernel, Interleaved):
        x, inner, bias = _promote(x, kernel.kernel, bias, dtype=dtype)
        return x, dataclasses.replace(kernel, kernel=inner), bias
    if not isinstance(kernel, Int8 | LowRank):
        return promote_dtype(x, kernel, bias, dtype=dtype)
    x, bias = promote_dtype(x, bias, dtype=dtype)
    if isinstance(kernel, LowRank):
        return x, kernel.astype(x.dtype), bias
    return x, dataclasses.replace(kernel, dtype=x.dtype), bias


def tanh_gelu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return GELU in its tanh form."""
    return nn.gelu(x, approximate=True)


def exact_gelu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return GELU by the error function."""
    return nn.gelu(x, approximate=False)


def quick_gelu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return `x * sigmoid(1.702 x)`, CLIP's approximation of GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


def layer_scale(module: nn.Module, x: Float[Array, "B S D"]) -> Float32[Array, "B S D"]:
    """Multiply by a gain per channel, a parameter `scale` of the module.

    Source: Touvron et al. 2021 (CaiT), section 2.
    """
    gain = module.param("scale", nn.initializers.ones, (x.shape[-1],))
    return x.astype(jnp.float32) * gain[None, None]


class MLP(nn.Module):
    """`down(activation(up(x)))`, if asked for with a learnt gain per channel."""

    hidden: int
    std: float
    down_std: float
    dtype: Any = jnp.float32
    activation: Callable[[jax.Array], jax.Array] = tanh_gelu
    has_layer_scale: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        """Map tokens; the result has the compute dtype, and with a gain f32."""
        hidden = self.activation(dense(self.hidden, self.std, self.dtype, name="up")(x))
        out = dense(x.shape[-1], self.down_std, self.dtype, name="down")(hidden)
        return layer_scale(self, out) if self.has_layer_scale else out


def embedding_lookup(
    table: Float[ArrayLike, "V D"], ids: Int[ArrayLike, "B N"]
) -> Float[ArrayLike, "B N D"]:
    """Return `table[ids]`; on a mesh, rows stay on their device, and only the table is sent.

    Left alone, the compiler cuts the result as the table is cut, and then moves all of it.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return table[ids]
    cut, rows = param_spec(table.shape, ("rows", None)), activation_spec(ids.shape, ("batch", None))

    def here(table: jax.Array, ids: jax.Array) -> jax.Array:
        whole = jax.lax.all_gather(table, cut[0], tiled=True) if cut[0] else table
        return whole[ids]

    return jax.shard_map(here, in_specs=(cut, rows), out_specs=rows, check_vma=False)(table, ids)


def rematerialised(block: type[nn.Module], kind: str) -> type[nn.Module]:
    """Return the block, changed to keep fewer activations for the backward pass.

    Args:
      block: a module that is scanned over layers.
      kind: activations that are computed again: "all"; "cheap", all but products with weights; or
        "none".
    """
    if kind == "none":
        return block
    keep = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    return nn.remat(block, prevent_cse=False, policy=keep if kind == "cheap" else None)
