"""Which settings `erec_tables.py` measures: the rows of the paper's tables."""

from typing import Any, NamedTuple

from jaxedit.config import ERecConfig, PretrainedConfig

ABLATIONS: dict[str, dict[str, Any]] = {
    "EditAR": {"refine": False},
    "direct replacement (JS < 0.3)": {"direct_replacement": True, "pixel_align": False},
    "direct replacement, pixels aligned": {"direct_replacement": True},
    "ERec": {},
    "without shared Gumbel": {"noise": "independent"},
    "without refinement": {"refine": False},
    "without pixel alignment": {"pixel_align": False},
    "JS": {"dilation": 1, "use_nll_low": False, "use_nll_high": False},
    "JS, dilation": {"use_nll_low": False, "use_nll_high": False},
    "JS, dilation, NLL low": {"use_nll_high": False},
    "with hard paste (ours)": {"hard_paste": True},
}
SWEEPS: dict[str, tuple[float, ...]] = {
    "tau_js": (0.2, 0.4, 0.6, 0.7, 0.8, 0.9),
    "tau_low": (0.0, 1.0, 2.0, 3.0, 5.0),
    "tau_high": (5.0, 8.0, 10.0, 12.0, 15.0),
    "dilation": (1, 3, 5),
}
GRID: dict[str, tuple[float, ...]] = {  # of `--tune`
    "tau_js": (0.05, 0.1, 0.2, 0.3, 0.5, 0.7),
    "tau_low": (0.0, 0.5, 1.0, 2.0, 3.0),
    "tau_high": (5.0, 10.0, 20.0),
}


class Setting(NamedTuple):
    """Sampling's top-k, and changes of the model's own ERec settings."""

    top_k: int
    changes: dict[str, Any]


def plan(config: PretrainedConfig) -> dict[str, dict[str, Setting]]:
    """The settings of every row of every table."""
    main, ablation, sweep = paper_k(config.editar.codes)
    paper = {name: getattr(ERecConfig(), name) for name in ("tau_js", "tau_low", "tau_high")}
    tables: dict[str, dict[str, Setting]] = {
        "main": {
            "EditAR": Setting(main, {"refine": False}),
            "ERec": Setting(main, {}),
            "ERec, the paper's thresholds": Setting(main, paper),
        },
        "top_k": {
            f"{k} {name}": Setting(k, changes)
            for k in every_k(config.editar.codes)
            for name, changes in (("EditAR", {"refine": False}), ("ERec", {}))
        },
        "ablation": {name: Setting(ablation, changes) for name, changes in ABLATIONS.items()},
    }
    for name, values in SWEEPS.items():
        values = sorted({*values, getattr(config.erec, name)})
        tables[name] = {f"{v:g}": Setting(sweep, {name: v}) for v in values}
    return tables


def paper_k(codes: int) -> tuple[int, int, int]:
    """Top-k of the paper's tables 1, 4, and 6 to 9, for another number of codes."""
    return codes // 16, codes // 8, codes // 32


def every_k(codes: int) -> list[int]:
    """Top-k of tables 2 and 5."""
    return sorted({1, codes // 32, codes // 16, codes // 8, codes // 2, codes})
