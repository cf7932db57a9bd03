"""Steps from a client's pictures to edits that every door of the server takes."""

import asyncio
import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence

from jaxedit.editor.editor import EditResult
from jaxedit.editor.pipeline import Progress
from jaxedit.serve.edit_request import EditRequest
from jaxedit.serve.errors import api_error, invalid
from jaxedit.serve.service import EditService

SEEDS = 2**31  # see `require_seed`


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file that a client sends; its name is only recorded, never opened."""

    name: str
    data: bytes = dataclasses.field(repr=False)


def seeds_of(first: int, count: int) -> range:
    """Return the seeds of variants.

    Raises:
      APIError: the last seed is out of range.
    """
    seeds = range(first, first + count)
    if seeds[-1] >= SEEDS:
        raise invalid(f"seed={first}: expected at most {SEEDS - count} with n={count}")
    return seeds


async def edited(
    service: EditService,
    edit: EditRequest,
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> list[EditResult]:
    """Return the results of an edit; a caller that is cancelled gives up its places.

    Args:
      progress: see `EditService.submit`.

    Raises:
      QueueFull: there is no place for all of them.
      APIError: the model refuses the edit.
      EditFailed: the server failed.
    """
    jobs = service.submit(edit, seeds, progress)
    try:
        return await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs))
    except ValueError as error:
        raise api_error(error) from error
    finally:
        for job in jobs:  # of a client that left, or one of which failed
            job.future.cancel()


def made_from(files: Mapping[str, Upload | None]) -> dict[str, str]:
    """Return what an edit records of its files, "source" and "mask": names and SHA-256."""
    given = {name: file for name, file in files.items() if file}
    names = {name: pathlib.PurePath(file.name).name for name, file in given.items()}
    return names | {
        f"{name}_sha256": hashlib.sha256(file.data).hexdigest() for name, file in given.items()
    }
