"""Small layers: norms, modulation, dropout, dense maps, the MLP, embedding tables, remat."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from jaxedit.ops.int8 import Int8, product
from jaxedit.ops.low_rank import LowRank
from jaxedit.sharding.rules import activation_spec, axes_of, gather, param_spec


def layer_norm(x: jax.Array, eps: float) -> jax.Array:
    """Zero mean and unit variance over the last axis, in f32, without parameters.

    Source: Layer Normalization (Ba et al.), equation 3.
    """
    x = x.astype(jnp.float32)
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """`x / rms(x) * scale` of [B,S,C] over the last axis, in f32.

    Source: Root Mean Square Layer Normalization (Zhang and Sennrich), equation 4.
    """
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * scale[None, None]


def modulate(x: jax.Array, scale: jax.Array, shift: jax.Array, eps: float) -> jax.Array:
    """Adaptive layer norm: `LN(x) * (1 + scale) + shift`.

    Args:
      x: [B,S,C].
      scale: f32[B,C].
      shift: f32[B,C].
      eps: added to the variance.

    Returns:
      f32[B,S,C].

    Source: Scalable Diffusion Models with Transformers (DiT), section 3.2.
    """
    return layer_norm(x, eps) * (1 + scale[:, None]) + shift[:, None]


def drop_path(x: jax.Array, rate: jax.Array, key: jax.Array) -> jax.Array:
    """Zero whole rows of x[B,...] with probability `rate`, scaling up the others."""
    keep = jax.random.bernoulli(key, 1 - rate, (x.shape[0],) + (1,) * (x.ndim - 1))
    return jnp.where(keep, x / (1 - rate), 0)


def dropout(x: jax.Array, rate: float | jax.Array, key: jax.Array) -> jax.Array:
    """Zero single values of x with probability `rate`, scaling up the others."""
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
    """`x / rms(x) * scale` in f32 over the last axis [..., C]."""

    eps: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise x[B,S,C]; returns f32 of the same shape."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        return rms_norm(x, scale, self.eps)


class LayerNorm(nn.Module):
    """Layer norm with learned scale and bias, in f32, over the last axis of [B,S,C]."""

    eps: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise x[B,S,C]; returns f32 of the same shape."""
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
    skip: int = 0,
    wide: bool = False,
) -> nn.Dense:
    """A dense map whose kernel starts normal with deviation `std`, its bias at zero.

    It also takes a kernel that is `Int8` or `LowRank`. A kernel that holds `parts` maps side by
    side, without a bias, gives [..., parts, features / parts]: a mesh cuts the width of each map,
    not of all. A `wide` map returns its sums as they are added up, f32 whatever `dtype` is. The
    first `skip` outputs are not computed (not with `LowRank`).
    """
    rows = functools.partial(_dot_rows, wide=wide)
    dot = functools.partial(_dot_parts, parts=parts) if parts else rows
    return _Dense(
        features,
        use_bias,
        dtype=dtype,
        kernel_init=nn.initializers.normal(std),
        promote_dtype=_promote,
        dot_general=functools.partial(_dot, dot=dot, skip=skip),
        name=name,
    )


def packed_dense(
    widths: Sequence[int],
    std: float,
    dtype: Any,
    *,
    name: str,
    first: int = 0,
    wide: bool = False,
) -> Callable[[jax.Array], list[jax.Array]]:
    """Several dense maps without biases in one kernel, side by side.

    A `wide` product is of a few rows and is cut after it. Otherwise the kernel is cut into parts
    of equal width, so that a mesh cuts the width of each. Parts of a wide one would be copies of
    the kernel: a step of GPT-XL, compiled for v5e, takes 2.90 ms with parts and 2.06 without.

    Args:
      widths: of the maps.
      std: deviation of the normal numbers with which the kernel starts.
      dtype: of the operands.
      name: of the kernel's module.
      first: map from which on results are computed.
      wide: return the sums as they are added up, f32 whatever `dtype` is.

    Returns:
      Function of x [B,S,C] that returns [B,S,width] of each map from `first` on.
    """
    unit, skip = math.gcd(*widths), sum(widths[:first])
    layer = dense(
        sum(widths),
        std,
        dtype,
        name=name,
        use_bias=False,
        parts=0 if wide else (sum(widths) - skip) // unit,
        skip=skip,
        wide=wide,
    )
    ends = np.cumsum(widths[first:])[:-1]

    def project(x: jax.Array) -> list[jax.Array]:
        y = layer(x)
        if wide:
            return jnp.split(y, ends, axis=-1)
        return [p.reshape(*x.shape[:2], -1) for p in jnp.split(y, ends // unit, axis=2)]

    return project


class _Dense(nn.Dense):
    """`nn.Dense`; on a mesh each device first puts its kernel together, in the compute dtype."""

    def param(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """As of `nn.Module`."""
        value = super().param(name, *args, **kwargs)
        is_whole = jax.sharding.get_abstract_mesh().empty or self.is_initializing()
        if name != "kernel" or is_whole or isinstance(value, Int8):
            return value
        axes = axes_of("/".join((*self.path, name)))
        if isinstance(value, LowRank):
            return dataclasses.replace(value, kernel=gather(value.kernel.astype(self.dtype), axes))
        return gather(value.astype(self.dtype), axes)


def _promote(x: jax.Array, kernel: Any, bias: jax.Array | None, *, dtype: Any) -> tuple[Any, ...]:
    """All in `dtype`; integers stay integers."""
    if isinstance(kernel, LowRank):
        x, bias = promote_dtype(x, bias, dtype=dtype)
        return x, kernel.astype(x.dtype), bias
    if not isinstance(kernel, Int8):
        return promote_dtype(x, kernel, bias, dtype=dtype)
    x, bias = promote_dtype(x, bias, dtype=dtype)
    return x, dataclasses.replace(kernel, dtype=x.dtype), bias


def _dot(
    x: jax.Array,
    kernel: Any,
    *args: Any,
    dot: Callable[..., jax.Array],
    skip: int = 0,
    **kwargs: Any,
) -> jax.Array:
    """`dot` of rows [..., C] and a kernel of any kind; flax gives its precision by name."""
    if skip:
        kernel = jax.tree.map(lambda k: k[:, skip:], kernel)
    if not isinstance(kernel, LowRank):
        return dot(x, kernel, **kwargs)
    out = dot(x, kernel.kernel, **kwargs)
    low = _dot_rows(x, kernel.a, **kwargs)
    b = kernel.b.reshape(len(kernel.b), *out.shape[x.ndim - 1 :])  # not the output: it may be cut
    contract = (((low.ndim - 1,), (0,)), ((), ()))
    return out + kernel.scale * jax.lax.dot_general(low, b, contract, **kwargs)


def _dot_rows(x: jax.Array, kernel: Any, *, wide: bool = False, **kwargs: Any) -> jax.Array:
    """`dot_general` of [..., C] as one matrix: on CPU its backward pass is twice as fast."""
    if isinstance(kernel, Int8):
        return product(x, kernel, **kwargs).astype(jnp.float32 if wide else x.dtype)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    kwargs["preferred_element_type"] = jnp.float32 if wide else None
    out = jax.lax.dot_general(rows, kernel, (((1,), (0,)), ((), ())), **kwargs)
    return out.reshape(*x.shape[:-1], kernel.shape[-1])


def _dot_parts(x: jax.Array, kernel: Any, *, parts: int, **kwargs: Any) -> jax.Array:
    """`_dot_rows`, [..., parts, F]."""
    if isinstance(kernel, Int8):
        out = product(x, kernel, **kwargs).astype(x.dtype)
        return out.reshape(*x.shape[:-1], parts, out.shape[-1] // parts)
    shape = (*x.shape[:-1], parts, kernel.shape[-1] // parts)
    kernel = kernel.reshape(len(kernel), *shape[-2:])
    kernel = gather(kernel, ("embed", None, "heads"))  # rows change for columns
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return jax.lax.dot_general(rows, kernel, (((1,), (0,)), ((), ())), **kwargs).reshape(shape)


def tanh_gelu(x: jax.Array) -> jax.Array:
    """GELU in its tanh form."""
    return nn.gelu(x, approximate=True)


def exact_gelu(x: jax.Array) -> jax.Array:
    """GELU by the error function."""
    return nn.gelu(x, approximate=False)


def quick_gelu(x: jax.Array) -> jax.Array:
    """`x * sigmoid(1.702 x)`, CLIP's approximation of GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


def layer_scale(module: nn.Module, x: jax.Array) -> jax.Array:
    """Multiply x [B,S,C] by a gain per channel, a parameter `scale` of the module; in f32.

    Source: Touvron et al. 2021 (CaiT), section 2.
    """
    gain = module.param("scale", nn.initializers.ones, (x.shape[-1],))
    return x.astype(jnp.float32) * gain[None, None]


class MLP(nn.Module):
    """`down(activation(up(x)))`, with a learnt gain per channel if asked for."""

    hidden: int
    std: float
    down_std: float
    dtype: Any = jnp.float32
    activation: Callable[[jax.Array], jax.Array] = tanh_gelu
    has_layer_scale: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x[B,S,C] to the same shape, in the compute dtype (with a gain: f32)."""
        hidden = self.activation(dense(self.hidden, self.std, self.dtype, name="up")(x))
        out = dense(x.shape[-1], self.down_std, self.dtype, name="down")(hidden)
        return layer_scale(self, out) if self.has_layer_scale else out


def embedding_lookup(table: jax.Array, ids: jax.Array) -> jax.Array:
    """`table[ids]`, [B,N,C]; on a mesh rows stay on their device, and only the table is sent.

    By itself the compiler cuts what is looked up as the table is cut, and then moves all of it.

    Args:
      table: [V,C], cut by rows.
      ids: i32[B,N].
    """
    if jax.sharding.get_abstract_mesh().empty:
        return table[ids]
    cut, rows = param_spec(table.shape, ("rows", None)), activation_spec(ids.shape, ("batch", None))

    def here(table: jax.Array, ids: jax.Array) -> jax.Array:
        whole = jax.lax.all_gather(table, cut[0], tiled=True) if cut[0] else table
        return whole[ids]

    return jax.shard_map(here, in_specs=(cut, rows), out_specs=rows, check_vma=False)(table, ids)


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
