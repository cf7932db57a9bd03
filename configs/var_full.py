"""VAREdit that sees the source image at every scale (ablation "full"); twice the tokens.

    python -m jaxedit.train --config=configs/var_full.py:tiny --workdir=runs/tiny-full

Presets: tiny, 2b-256, 2b, 8b; everything else as in configs/var_sar.py.
"""

from jaxedit.config import TrainConfig
from jaxedit.configs.var_sar import with_conditioning


def get_config(preset: str = "tiny") -> TrainConfig:
    """The run called `preset`."""
    return with_conditioning(preset, "full")
