"""The writing of a store's codes: file by file, so that a stopped run goes on."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Int32, UInt8

from jaxedit.data.encoded_pictures import EncodedPictures
from jaxedit.data.row_variants import require_large
from jaxedit.data.store import Store
from jaxedit.data.stored_codes import Encoding, StoredCodes
from jaxedit.data.transforms import Fit
from jaxedit.datasets.encode.picture_encoder import PictureEncoder
from jaxedit.engines.options import Shard
from jaxedit.progress import progress_bar

_PREFETCH = 2  # batches


def encode_store(
    store: Store,
    encoding: Encoding,
    encoder: PictureEncoder,
    fit: Fit,
    *,
    threads: int,
    shard: Shard | None = None,
) -> StoredCodes:
    """Write the files of codes that a store lacks, or a shard of all its files.

    Args:
      fit: how pictures become squares; `encoding` names it.
      threads: that read and decode pictures.

    Raises:
      ConfigError: stored pictures are smaller than squares although the published pictures are
        larger.
      OSError: a row is damaged, or a file cannot be written.
    """
    require_large(store, store.read(0), encoding.image_size)
    codes = StoredCodes.create(store, encoding)
    blocks = codes.blocks if shard is None else shard.of(codes.blocks)
    missing = [block for block in blocks if not codes.is_written(block)]
    rows = [row for block in missing for row in codes.rows_of(block)]
    total = sum(len(codes.rows_of(block)) for block in blocks)
    pictures = EncodedPictures(store, codes.pictures, encoding.image_size, fit)
    with progress_bar(f"codes of {store.name}", total) as bar:
        bar.update(total - len(rows))
        found = _encoded_rows(encoder, batches(pictures, rows, encoder.rows, threads), bar.update)
        for block in missing:
            own = itertools.islice(found, len(codes.rows_of(block)))
            codes.write(block, np.stack(list(own)))
    return codes


def batches(
    pictures: EncodedPictures, rows: Sequence[int], size: int, threads: int
) -> Iterator[UInt8[np.ndarray, "B P H W 3"]]:
    """Yield the pictures of rows in batches of `size`; the last row fills the last batch."""
    import grain  # slow to import

    if not rows:
        return iter(())
    padded = [*rows, *[rows[-1]] * (-len(rows) % size)]
    dataset = grain.MapDataset.source(padded).map(pictures.__getitem__)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_PREFETCH * size)
    return iter(dataset.batch(size, batch_fn=np.stack).to_iter_dataset(options))


def _encoded_rows(
    encoder: PictureEncoder,
    batches: Iterator[UInt8[np.ndarray, "B P H W 3"]],
    seen: Callable[[int], object],
) -> Iterator[Int32[np.ndarray, "P N"]]:
    """Yield the codes of each row; `seen` is told the number of rows."""
    for pixels in batches:
        yield from encoder(pixels).codes
        seen(len(pixels))
