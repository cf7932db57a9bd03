"""The choice between stored codes and encoding in every step, and the check of stored codes."""

import logging
from collections.abc import Iterable, Sequence

import jax

from jaxedit.config import TrainConfig
from jaxedit.data.encoded_pictures import EncodedPictures
from jaxedit.data.loader import CodesToRead
from jaxedit.data.mixture import components, has_tasks
from jaxedit.data.row_variants import RowVariant
from jaxedit.data.store import Store
from jaxedit.data.stored_codes import Encoding, NoCodes, StoredCodes, folders_in
from jaxedit.data.transforms import Fit
from jaxedit.datasets.encode.check_codes import check_codes
from jaxedit.datasets.encode.picture_encoder import PictureEncoder
from jaxedit.sharding import distributed
from jaxedit.train.objectives.objective import FrozenTokenizer, Objective

CHECKED = 1000  # one row in so many is checked
_FEWEST = 8  # rows that are checked of a smaller store
_ROWS = 4  # encoded at a time on each device

log = logging.getLogger(__name__)


def find_codes(config: TrainConfig, objective: Objective, fit: Fit) -> CodesToRead | None:
    """Return the codes that the steps of a run can read, checked; None: they encode pictures.

    A line of the log says which, and why. All processes of a run must call this function.

    Raises:
      ConfigError: a stored code is not the code of its picture, or hosts have other codes.
      OSError: data are damaged.
    """
    data, tokenizer = config.data, objective.frozen_tokenizer()
    if tokenizer is None or has_tasks(data.source):
        return None
    if not data.stored_codes:
        log.info("stored codes: not used, as data.stored_codes=False")
        return None
    parts = [part for part, _ in components(data, fit)]
    stores = {store.directory: store for part in parts for store in part.stores}
    encoding = None
    if any(folders_in(directory) for directory in stores):
        settings = tokenizer.module.config
        encoding = Encoding.of(settings, tokenizer.params, data.image_size, fit)
    reason = _why_not(config, parts, encoding)
    distributed.assert_same_on_all_hosts({"stored codes": (encoding, not reason)})
    if reason:
        about = "pictures are encoded in every step"
        log.info("stored codes: not used, %s: %s; %s", about, reason, _advice(config, fit))
        return None
    rows = _check(stores.values(), encoding, tokenizer, fit, config)
    log.info(
        "stored codes: used instead of the image tokenizer; %d of %d rows are checked%s",
        rows,
        sum(store.rows for store in stores.values()),
        "" if tokenizer.needs_pictures else "; pictures are not read",
    )
    return CodesToRead(encoding, tokenizer.needs_pictures)


def _why_not(config: TrainConfig, parts: Sequence[RowVariant], encoding: Encoding | None) -> str:
    """Return why stored codes cannot be used; empty if every part of the mixture has them."""
    if encoding is None:
        return f"{config.data.source} has none"
    for (entry, _), part in zip(config.data.mixture, parts, strict=True):
        try:
            part.with_codes(encoding, has_pictures=False)
        except NoCodes as reason:
            return f"{entry}: {reason}"
    return ""


def _advice(config: TrainConfig, fit: Fit) -> str:
    """Return the command that adds the codes of this run."""
    command = "to add them: python -m jaxedit.datasets.encode --store=DIR"
    command += f" --tokenizer={config.editar.tokenizer or config.init_from}"
    return f"{command} --image_size={config.data.image_size} --fit={fit.kind} --crop={fit.rule}"


def _check(
    stores: Iterable[Store],
    encoding: Encoding,
    tokenizer: FrozenTokenizer,
    fit: Fit,
    config: TrainConfig,
) -> int:
    """Check the rows of each store that fall to this process; return the number of all."""
    encoder = PictureEncoder(tokenizer.module, tokenizer.params, _ROWS)
    count = 0
    for store in stores:
        codes = StoredCodes.load(store, encoding)
        rows = checked_rows(store.rows, config.data.seed)
        mine = rows[jax.process_index() :: jax.process_count()]
        pictures = EncodedPictures(store, codes.pictures, encoding.image_size, fit)
        check_codes(codes, pictures, mine, encoder, config.data.threads)
        count += len(rows)
    return count


def checked_rows(rows: int, seed: int) -> range:
    """Return the numbers of the rows to check: one in a thousand, of a small store a few."""
    every = max(1, min(CHECKED, rows // _FEWEST))
    return range(seed % every, rows, every)
