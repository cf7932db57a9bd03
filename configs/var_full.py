"""VAREdit that sees the source image at every scale (ablation "full"); twice the tokens.

    python -m jaxedit.train --config=configs/var_full.py

Presets: tiny, tiny-level3, 2b-256, 2b, 8b; everything else as in configs/var_sar.py.
"""

from jaxedit.config import TrainConfig
from jaxedit.configs import var_sar

RUNS = var_sar.RUNS


def get_config(preset: str = "tiny") -> TrainConfig:
    """Return the run called `preset`."""
    return var_sar.with_conditioning(preset, "full")
