"""EditAR's rows of its Tables 1 and 2, and of VAREdit's Table 1.

    python -m jaxedit.evaluate --config=configs/eval_editar.py:pie \\
        --data=PIE-Bench --out=results/pie

Presets:
  pie                Table 1, PIE-Bench; for VAREdit's Table 1, add a judge.
  emu                VAREdit's Table 1, EMU-Edit; the judge is GPT-4o, its key in OPENAI_API_KEY.
  depth, canny, seg  Table 2: pictures from depth maps, edges and segmentations.
  depth-plain, canny-plain, seg-plain  without distillation: train the weights by
                     configs/editar.py:xl with --config.editar.distill_weight=0.
"""

from typing import Any

from jaxedit.config import pick_preset

MODEL, PLAIN = "editar-512", "runs/editar-plain/export"
PAPER = {"method": "editar", "guidance": 3.0, "temperature": 1.0, "top_k": 1000, "top_p": 1.0}
TRANSLATIONS = {"depth": "multigen-depth", "canny": "multigen-canny", "seg": "coco-stuff"}
RUNS = {
    "pie": {"model": MODEL, "benchmark": "pie-bench", **PAPER},
    "emu": {
        "model": MODEL,
        "benchmark": "emu-edit",
        "judge": "openai",
        "judge_model": "gpt-4o",
        **PAPER,
    },
    **{
        f"{task}{ending}": {"model": model, "benchmark": benchmark, **PAPER}
        for ending, model in (("", MODEL), ("-plain", PLAIN))
        for task, benchmark in TRANSLATIONS.items()
    },
}


def get_config(preset: str = "pie") -> dict[str, Any]:
    """Return the arguments of the row called `preset`."""
    return dict(pick_preset(RUNS, preset))
