"""The manifests of a folder of pictures: a line for each row that was made, or has failed.

manifest.jsonl           of runs of whole lists
manifest.0-of-8.jsonl    of a shard; the next run of a whole list moves its lines to manifest.jsonl

Each process writes a file of its own, because file systems of several machines mix up lines that
are appended to one file.
"""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

from jaxedit.data import json_lines
from jaxedit.editor.list_file import Row
from jaxedit.engines.options import Shard
from jaxedit.file_lock import locked

Entry = dict[str, Any]  # a line


def path_of(folder: pathlib.Path, shard: Shard | None = None) -> pathlib.Path:
    """Return the path of a shard's manifest, or of manifest.jsonl."""
    return folder / f"manifest{f'.{shard.index}-of-{shard.count}' if shard else ''}.jsonl"


def of_shards(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the paths of all shards' manifests."""
    return sorted(folder.glob("manifest.*-of-*.jsonl"))


@contextlib.contextmanager
def alone(folder: pathlib.Path, shard: Shard | None) -> Iterator[None]:
    """Keep other runs out of a folder; runs of different shards may share the folder.

    Raises:
      OSError: another run writes there.
    """
    taken = f"{folder}: another run writes there: expected another --output"
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(path_of(folder), taken, is_shared=shard is not None))
        if shard:
            stack.enter_context(locked(path_of(folder, shard), taken))
        yield


def finished(folder: pathlib.Path) -> dict[str, Entry]:
    """Return an entry of each picture that was made, by its output, from all manifests.

    Damaged lines are left out. If several lines name an output, the last of them counts.
    """
    entries = (e for path in (path_of(folder), *of_shards(folder)) for e in _read(path))
    return {entry["output"]: entry for entry in entries if entry.get("status") == "ok"}


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[IO[str]]:
    """Open a manifest to append lines; end a line that was cut short when a run was killed."""
    is_cut = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * is_cut)
        yield file


def write(manifest: IO[str], entry: Entry) -> None:
    """Append an entry to an open manifest at once."""
    manifest.write(json.dumps(entry) + "\n")
    manifest.flush()


def gather(folder: pathlib.Path, rows: Sequence[Row]) -> list[Entry]:
    """Move the newest line of each row from the shards' manifests to manifest.jsonl.

    A run that is killed meanwhile leaves no line out, and the next run moves none again.

    Args:
      rows: of the list, whose order the lines take.

    Returns:
      The entries that were moved.
    """
    paths = of_shards(folder)
    newest = {entry["row"]: entry for path in paths for entry in _read(path) if "row" in entry}
    places = {row.place: i for i, row in enumerate(rows)}
    entries = sorted(newest.values(), key=lambda entry: places.get(entry["row"], len(places)))
    there = {json.dumps(entry) for entry in _read(path_of(folder))} if entries else set()
    with opened(path_of(folder)) as manifest:
        for entry in entries:
            if json.dumps(entry) not in there:
                write(manifest, entry)
    for path in paths:
        path.unlink()
    return entries


def forget(folder: pathlib.Path, shard: Shard | None) -> None:
    """Empty the manifest of a shard, or all manifests of a folder."""
    path_of(folder, shard).write_text("", encoding="utf-8")  # not removed: it is locked
    for path in () if shard else of_shards(folder):
        path.unlink()


def _read(path: pathlib.Path) -> Iterator[Entry]:
    if path.exists():
        yield from (line.values for line in json_lines.read(path))
