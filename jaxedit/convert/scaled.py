"""8-bit weights that are stored beside a scale, as ComfyUI and compressed-tensors write them.

The value is `X.weight * X.scale_weight`, also named `X.weight_scale`: a number, or one per row.
"""

import json
from collections.abc import Mapping

import numpy as np

from jaxedit.checkpoints.lazy_tensor import LazyTensor

SCALES = ("scale_weight", "weight_scale")
UNUSED = ("scale_input", "input_scale", "scale_output", "output_scale")  # of activations
MARK, FORMAT = "scaled_fp8", "comfy_quant"
SCALED = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "int8")  # dtypes
MAX_FORMAT = 4096  # bytes


def unscale(arrays: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Multiply each 8-bit weight by its scale, when read; leave out the keys that describe scales.

    Raises:
      ValueError: a scale of an unknown kind; names it.
    """
    found: dict[str, LazyTensor] = dict(arrays)
    for key, array in arrays.items():
        module, dot, name = key.rpartition(".")
        weight = arrays.get(f"{module}{dot}weight")
        is_scaled = weight is not None and weight.dtype.name in SCALED
        if name == MARK:
            del found[key]
        elif name == FORMAT:
            _require_known(key, array)
            del found[key]
        elif is_scaled and name in UNUSED:
            del found[key]
        elif is_scaled and name in SCALES:
            found[f"{module}{dot}weight"] = _scaled(key, weight, array)
            del found[key]
        elif is_scaled and ("scale" in name or "zero_point" in name or name == "SCB"):
            raise ValueError(f"{key}: 8-bit weights with a scale of an unknown kind")
    return found


def _scaled(key: str, weight: LazyTensor, scale: LazyTensor) -> LazyTensor:
    """Return a weight times its scale, in f32, read when it is indexed."""
    rows = (weight.shape[0], *(1 for _ in weight.shape[1:])) if weight.shape else ()
    if scale.size != 1 and scale.shape != rows:
        raise ValueError(
            f"{key}: a scale of shape {scale.shape} for weights of {weight.shape}: expected a "
            f"number or {rows}"
        )
    if scale.dtype.kind == "c":
        raise ValueError(f"{key}: expected real numbers, found {scale.dtype}")
    numbers = scale[...].astype(np.float32).reshape(() if scale.size == 1 else rows)
    factors = np.broadcast_to(numbers, weight.shape)
    return weight.map(lambda part, box: part.astype(np.float32) * factors[box], np.float32)


def _require_known(key: str, array: LazyTensor) -> None:
    """Raise ValueError unless the JSON of a weight's format names a known 8-bit format."""
    text = array[...].tobytes() if array.nbytes <= MAX_FORMAT else b""
    try:
        kind = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        kind = None
    if kind not in ("float8_e4m3fn", "float8_e5m2", "int8_tensorwise"):
        raise ValueError(f"{key}: 8-bit weights of the unknown format {ascii(kind)[:50]}")
