"""The check whether a bundled model, which knows drawn toys only, is given a photograph.

The model's own image tokenizer tells: it renders toys well, and photographs badly.
"""

import functools
import logging

import numpy as np
from jaxtyping import UInt8

from jaxedit.editor.pipeline import Pipeline
from jaxedit.sampling.round_trip import reconstruct
from jaxedit.warn_once import warn_once

log = logging.getLogger(__name__)

# Bundled model -> dB of PSNR between a picture and its reconstruction; photographs have less.
# Measured by benchmarks/photo_threshold.py, see docs/toybox.md.
LEAST = {"toy-varedit": 22.0, "toy-editar": 22.0}
NOTICE = (
    "{name} knows drawn toys only, and this picture is unlike them; for photographs use the "
    "weights of docs/weights.md, for example --model=varedit-2b-512"
)


class PhotoCheck:
    """The check of a model's sources; models that are not bundled have no notices."""

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        """Remember the model; the first picture compiles its tokenizer."""
        self._name, self._pipeline = name, pipeline
        self._psnr = functools.lru_cache(64)(self._psnr_of)  # a picture is often edited again

    def notice(self, square: UInt8[np.ndarray, "S S 3"]) -> str:
        """Return a notice about a source, "" if there is none; the log has it once."""
        if self._name not in LEAST or self._psnr(square.tobytes()) >= LEAST[self._name]:
            return ""
        notice = NOTICE.format(name=self._name)
        warn_once(log, notice)
        return notice

    def _psnr_of(self, pixels: bytes) -> float:
        size = self._pipeline.size
        return psnr_of(self._pipeline, np.frombuffer(pixels, np.uint8).reshape(size, size, 3))


def psnr_of(pipeline: Pipeline, square: UInt8[np.ndarray, "S S 3"]) -> float:
    """Return the PSNR, in dB, of a picture's reconstruction by a model's image tokenizer."""
    scales = getattr(pipeline.config.varedit, "latent_scales", ())
    options = {"config": pipeline.config, "scales": scales}
    drawn = np.asarray(reconstruct(pipeline.tokenizer, square[None], **options))[0]
    error = np.mean(np.square(drawn.astype(np.float64) - square))
    return float(10 * np.log10(255**2 / max(error, 1e-3)))
