"""The scores that ERec's tables show, and the claims of the paper that they test."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxedit.config import PretrainedConfig
from jaxedit.data import toybox

MAX_PSNR = 50.0  # dB, of one picture: less than one grey level of error
SIMILAR = 0.02  # a smaller loss of success is none
CHEAP = 1.25  # times EditAR's time


class Score(NamedTuple):
    """Of n pairs, f[n] each; nan where there is no background, or no mask.

    psnr, ssim: of the background against the source, dB and [-1,1]. success: everything is right;
    edited: what was asked for is there. area: part of the tokens that the mask calls edited.
    """

    psnr: np.ndarray
    ssim: np.ndarray
    success: np.ndarray
    edited: np.ndarray
    area: np.ndarray

    @property
    def mse(self) -> np.ndarray:
        """Mean squared error of the background, of values in [0,1]."""
        return 10 ** (-self.psnr / 10)

    def mean(self, name: str) -> float:
        """Mean over the pairs that have a value."""
        values = getattr(self, name)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


Tables = dict[str, dict[str, Score]]  # by name, scores by row


class Signals(NamedTuple):
    """Means over tokens outside and inside the true mask: agreement, js, nll_rec, nll_edit."""

    outside: np.ndarray
    inside: np.ndarray


class Costs(NamedTuple):
    """Wall and CPU seconds of each trial, f[trials,2]."""

    editar: np.ndarray
    erec: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """ERec's wall and CPU time over EditAR's, medians, f[2]."""
        return np.median(self.erec, 0) / np.median(self.editar, 0)


class Page(NamedTuple):
    """All that was measured.

    tables: all scores. ks: of the top-k table. top_k: of main table, ablations, sweeps.
    agreement: part of the pairs whose edit by EditAR alone is ERec's editing path.
    """

    tables: Tables
    ks: list[int]
    top_k: tuple[int, int, int]
    agreement: float
    signals: dict[str, Signals]
    costs: Costs
    config: PretrainedConfig


class Claim(NamedTuple):
    """From row a to row b of a table, scores change by these signs (0: they do not fall)."""

    text: str
    paper: str
    table: str
    a: str
    b: str
    signs: dict[str, int]


_SAFE = {"psnr": 1, "edited": 0}
ABLATIONS = (
    Claim(
        *(
            "direct replacement preserves, but spoils edits",
            "PSNR 21.42 → 25.08, CLIP 21.45 → 20.73",
        ),
        *("ablation", "EditAR", "direct replacement (JS < 0.3)", {"psnr": 1, "edited": -1}),
    ),
    Claim(
        *("independent noise enlarges the mask and preserves less", "PSNR 25.99 → 24.44"),
        *("ablation", "ERec", "without shared Gumbel", {"psnr": -1, "area": 1}),
    ),
    Claim(
        *("without refinement it is worse than EditAR", "PSNR 21.42 → 20.75"),
        *("ablation", "EditAR", "without refinement", {"psnr": -1}),
    ),
    Claim(
        *("without pixel alignment it preserves less", "PSNR 25.99 → 22.68, CLIP 21.44 → 21.42"),
        *("ablation", "ERec", "without pixel alignment", {"psnr": -1, "edited": 0}),
    ),
    Claim(
        *("a mask of JS alone cuts edits short", "CLIP 21.45 → 21.26"),
        *("ablation", "EditAR", "JS", {"edited": -1}),
    ),
    Claim(
        *(
            "dilation brings edits back and costs background",
            "PSNR 26.18 → 23.51, CLIP 21.26 → 21.43",
        ),
        *("ablation", "JS", "JS, dilation", {"psnr": -1, "edited": 1}),
    ),
    Claim(
        *("NLL low brings background back, not at the edit's cost", "PSNR 23.51 → 25.02"),
        *("ablation", "JS, dilation", "JS, dilation, NLL low", _SAFE),
    ),
    Claim(
        *("NLL high does so, too", "PSNR 25.02 → 25.99, CLIP 21.44 at the end"),
        *("ablation", "JS, dilation, NLL low", "ERec", _SAFE),
    ),
)


def score(pairs: Sequence[toybox.ToyPair], pixels: np.ndarray, area: np.ndarray) -> Score:
    """The checker's verdict and background likeness of u8[n,S,S,3]; `area` f[n] is passed on."""
    checks = [toybox.check(p, pair) for p, pair in zip(pixels, pairs, strict=True)]

    def column(name: str) -> np.ndarray:
        return np.array([getattr(c, name) for c in checks], float)  # None is nan

    psnr = np.minimum(column("psnr_outside"), MAX_PSNR)
    return Score(psnr, *map(column, ("ssim_outside", "success", "is_edited")), area)


def claims(page: Page) -> list[Claim]:
    """The claims of the paper about pairs of our rows."""
    V = page.ks[-1]
    found = [
        Claim(
            *("ERec preserves the background better", "PSNR 21.43 → 26.63, SSIM 75.09 → 88.20"),
            *("main", "EditAR", "ERec", {"psnr": 1, "ssim": 1}),
        ),
        Claim("and edits as well", "CLIP 21.45 → 21.44", "main", "EditAR", "ERec", {"edited": 0}),
        *(
            Claim(f"so for k = {k}", "", "top_k", f"{k} EditAR", f"{k} ERec", _SAFE)
            for k in page.ks
        ),
        Claim(
            *("k from 1 to V: more drift, better edits", "PSNR 23.40 → 21.15, CLIP 20.42 → 21.61"),
            *("top_k", "1 EditAR", f"{V} EditAR", {"psnr": -1, "edited": 1}),
        ),
        *ABLATIONS,
    ]
    for name, paper, sign in (
        ("tau_js", "PSNR 27.06 → 29.18, CLIP 21.40 → 21.14", 1),
        ("tau_low", "PSNR 25.85 → 28.48, CLIP 21.40 → 21.26", 1),
        ("tau_high", "PSNR 28.87 → 26.72, CLIP 21.26 → 21.38", -1),
    ):
        first, *_, last = page.tables[name]
        what = ("preserves more and edits less", "preserves less and edits more")[sign < 0]
        signs = {"psnr": sign, "edited": -sign}
        found.append(Claim(f"{name} {first} → {last} {what}", paper, name, first, last, signs))
    kernel = ("a kernel of 5 preserves less than 3", "PSNR 27.46 → 26.96, CLIP 21.39 → 21.40")
    return [*found, Claim(*kernel, "dilation", "3", "5", {"psnr": -1, "edited": 0})]


def judge(tables: Tables, claim: Claim) -> tuple[str, str]:
    """(our numbers, whether the claim holds here).

    A change is one if it exceeds two standard errors of the paired differences.
    """
    a, b = tables[claim.table][claim.a], tables[claim.table][claim.b]
    numbers, verdicts = [], []
    for name, sign in claim.signs.items():
        d = getattr(b, name) - getattr(a, name)
        d = d[np.isfinite(d)]
        if not d.size:  # there is no mask to compare
            continue
        mean, error = float(d.mean()), 2 * float(d.std()) / max(1, d.size - 1) ** 0.5
        digits = 2 if name == "psnr" else 3
        values = [f"{x:.{digits}f}" for x in (a.mean(name), b.mean(name), error)]
        numbers.append("{} {} → {} (±{})".format(name, *values))
        verdicts.append(_verdict(mean, error, sign))
    return ", ".join(numbers), _worst(verdicts)


def _verdict(mean: float, error: float, sign: int) -> str:
    if sign == 0 and mean >= -SIMILAR:
        return "yes"
    if abs(mean) <= error:
        return "not resolved"
    return "yes" if mean * sign > 0 else "no"


def _worst(verdicts: Sequence[str]) -> str:
    return next((word for word in ("no", "not resolved") if word in verdicts), "yes")
