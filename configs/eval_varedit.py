"""VAREdit's rows of its Tables 1 (with 3 to 6) and 2.

    python -m jaxedit.evaluate --config=configs/eval_varedit.py:8b-pie \\
        --data=PIE-Bench --out=results/8b

Presets: 8b, 2b and 2b-256 (Table 1), full-2b-256 and finest-2b-256 (Table 2, where 2b-256 is the
row with SAR), each followed by -pie for PIE-Bench or -emu for EMU-Edit.

GPT-4o judges; its key is read from OPENAI_API_KEY. With --judge=none, only CLIP scores the edits.
Weights for 256 px and for the ablations are not published: train them by configs/var_sar.py,
configs/var_full.py and configs/var_finest.py with the preset 2b-256.
"""

from typing import Any

from jaxedit.config import pick_preset

MODELS = {
    "8b": "varedit-8b-512",
    "2b": "varedit-2b-512",
    "2b-256": "runs/2b-256/export",
    "full-2b-256": "runs/full-2b-256/export",
    "finest-2b-256": "runs/finest-2b-256/export",
}
BENCHMARKS = {"pie": "pie-bench", "emu": "emu-edit"}
# The paper names GPT-4o, but no snapshot. top_p is the release's.
PAPER = {
    "method": "varedit",
    "guidance": 4.0,
    "temperature": 0.5,
    "top_p": 0.97,
    "judge": "openai",
    "judge_model": "gpt-4o",
}
RUNS = {
    f"{size}-{short}": {"model": model, "benchmark": benchmark, **PAPER}
    for size, model in MODELS.items()
    for short, benchmark in BENCHMARKS.items()
}


def get_config(preset: str = "8b-pie") -> dict[str, Any]:
    """Return the arguments of the row called `preset`."""
    return dict(pick_preset(RUNS, preset))
