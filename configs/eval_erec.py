"""ERec's rows of its Tables 1 to 9, all on PIE-Bench with EditAR's weights.

    python -m jaxedit.evaluate --config=configs/eval_erec.py --data=PIE-Bench --out=results/erec

Presets:
  erec, baseline     Tables 1 and 3: top-k 1000, with ERec and without.
  baseline-k, erec-k with a number for k: Tables 2 and 5: baseline-1, erec-1, ... erec-16384.
  direct, no-shared-noise, no-refinement, no-pixel-alignment  Table 4, top-k 2048; its EditAR and
                     ERec are baseline-2048 and erec-2048.
  js, js-dilation, js-dilation-low  Table 4: parts of the mask, one after another.
  tau_js-0.6, tau_low-0, tau_high-5, dilation-5, ...  Tables 6 to 9, top-k 512.
"""

from typing import Any

from jaxedit.config import pick_preset

TOP_K = (1, 16, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
SWEEPS: dict[str, tuple[float, ...]] = {
    "tau_js": (0.6, 0.7, 0.8, 0.9),
    "tau_low": (0.0, 1.0, 2.0, 3.0, 5.0),
    "tau_high": (5.0, 8.0, 10.0, 12.0, 15.0),
    "dilation": (3, 5),
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "direct": {"direct_replacement": True, "tau_replace": 0.3, "pixel_align": False},
    "no-shared-noise": {"noise": "independent"},
    "no-refinement": {"refine": False},
    "no-pixel-alignment": {"pixel_align": False},
    "js": {"dilation": 1, "use_nll_low": False, "use_nll_high": False},
    "js-dilation": {"use_nll_low": False, "use_nll_high": False},
    "js-dilation-low": {"use_nll_high": False},
}


def _baseline(top_k: int) -> dict[str, Any]:
    return {
        "model": "editar-512",
        "benchmark": "pie-bench",
        "method": "editar",
        "guidance": 3.0,
        "temperature": 1.0,
        "top_k": top_k,
        "top_p": 1.0,
    }


def _erec(top_k: int, **changes: Any) -> dict[str, Any]:
    paper = {"tau_js": 0.7, "tau_low": 3.0, "tau_high": 10.0, "dilation": 3}
    return _baseline(top_k) | {"method": "editar+erec"} | paper | changes


RUNS = {
    "erec": _erec(1000),
    "baseline": _baseline(1000),
    **{f"baseline-{k}": _baseline(k) for k in TOP_K},
    **{f"erec-{k}": _erec(k) for k in TOP_K},
    **{name: _erec(2048, **changes) for name, changes in ABLATIONS.items()},
    **{
        f"{name}-{value:g}": _erec(512, **{name: value})
        for name, values in SWEEPS.items()
        for value in values
    },
}


def get_config(preset: str = "erec") -> dict[str, Any]:
    """Return the arguments of the row called `preset`."""
    return dict(pick_preset(RUNS, preset))
