"""The parameters that have 16 bits when a model runs, as in the scripts of its release.

| what | in the releases | here, with dtype=bfloat16 |
| --- | --- | --- |
| blocks of VAREdit, Infinity | bfloat16 | bfloat16 |
| their head and adaptive norms | float32 | float32 |
| their embeddings, text projections | float32, but multiplied in bfloat16 | float32 |
| their T5 | float16, `wo` float32 | float16, sums of `o` and `down` float32 |
| EditAR, LlamaGen | bfloat16 | bfloat16; norms, constants and sums float32 |
| their T5 | bfloat16 | float16, as above |
| image tokenizers | float32 | float32 |

VAREdit's inference multiplies embeddings and text projections in bfloat16 only because it runs
under autocast, which its training disables for these layers. T5 is float16 beside EditAR as well:
that is as small and fast as bfloat16, with an error eight times smaller (docs/precision.md).

Source: release code of Infinity, VAREdit and LlamaGen.
"""

import re

from jaxedit.config.checks import require
from jaxedit.config.families import BY_TYPE

DTYPES = ("float32", "bfloat16")  # of a transformer
T5_DTYPES = (*DTYPES, "float16")


def t5_dtype_for(dtype: str) -> str:
    """Return the dtype of the text encoder beside a transformer of `dtype`."""
    return "float32" if dtype == "float32" else "float16"


def checked(dtype: str, t5_dtype: str | None) -> tuple[str, str]:
    """Check both dtypes, and return them with the second completed by `t5_dtype_for`.

    Raises:
      ConfigError: a dtype is unknown.
    """
    t5_dtype = t5_dtype or t5_dtype_for(dtype)
    for name, given, known in (("dtype", dtype, DTYPES), ("t5_dtype", t5_dtype, T5_DTYPES)):
        require(given in known, f"{name}={given!r}: expected one of {', '.join(known)}")
    return dtype, t5_dtype


def dtype_of(path: str, model_type: str, dtype: str, t5_dtype: str | None = None) -> str:
    """Return the dtype in which a model stores a parameter when it runs.

    Args:
      path: path of the parameter, which begins with the network's name.
      t5_dtype: dtype of the text encoder; None: see `t5_dtype_for`.
    """
    if path.startswith("t5/"):
        return t5_dtype or t5_dtype_for(dtype)
    return dtype if re.match(BY_TYPE[model_type].half, path) else "float32"
