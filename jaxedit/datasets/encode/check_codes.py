"""The comparison of stored codes with the codes that the tokenizer gives now."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int32

from jaxedit.config import require
from jaxedit.data.encoded_pictures import EncodedPictures
from jaxedit.data.stored_codes import StoredCodes
from jaxedit.datasets.encode.encode_store import batches
from jaxedit.datasets.encode.picture_encoder import Encoded, PictureEncoder

# Two codes are equally near if their squared distances differ by less than this share of the
# squared lengths of latent and code. Rounding, by TF32 too, moves latents by about 1e-3.
_TIE = 5e-3


def check_codes(
    codes: StoredCodes,
    pictures: EncodedPictures,
    rows: Sequence[int],
    encoder: PictureEncoder,
    threads: int,
) -> None:
    """Encode rows again, and compare.

    Raises:
      ConfigError: a stored code is not the code of its picture; the message names store and row.
      OSError: a row is damaged, or codes cannot be read.
    """
    entries, unit_norm = encoder.codebook, encoder.config.unit_norm
    for start, pixels in enumerate(batches(pictures, rows, encoder.rows, threads)):
        again = encoder(pixels)
        for i, row in enumerate(rows[start * encoder.rows :][: encoder.rows]):
            own = Encoded(again.codes[i], again.latents[i])
            wrong = np.count_nonzero(_is_wrong(codes[row], own, entries, unit_norm))
            require(
                not wrong,
                f"{codes.directory}: row {row}: {wrong} of {own.codes.size} codes are not those of "
                "the tokenizer: remove this folder and encode again, or train with "
                "--config.data.stored_codes=False",
            )


def _is_wrong(
    stored: Int32[np.ndarray, "P N"],
    again: Encoded,
    entries: Float[np.ndarray, "V c"],
    unit_norm: bool,
) -> Bool[np.ndarray, "P N"]:
    """Tell which stored codes are further from their latents than rounding explains."""
    is_known = stored < len(entries)

    def unit(vectors: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors / np.maximum(length, 1e-12) if unit_norm else vectors

    def squares(vectors: np.ndarray) -> np.ndarray:
        return (vectors * vectors).sum(-1)

    latents, best = unit(again.latents), unit(entries[again.codes])
    other = unit(entries[np.where(is_known, stored, 0)])
    excess = squares(latents - other) - squares(latents - best)
    is_tie = excess <= _TIE * (squares(latents) + squares(best))
    return ~is_known | (stored != again.codes) & ~is_tie
