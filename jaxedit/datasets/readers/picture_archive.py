"""Pictures that a data set names by paths: files in a folder, or members of archives there."""

import errno
import os
import pathlib
import posixpath
from collections.abc import Sequence
from typing import Any

from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.split_archive import Archive, archives_in

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class Pictures:
    """Pictures by their paths below folders and in archives. Picklable."""

    def __init__(self, folders: Sequence[pathlib.Path], archives: Sequence[Archive]) -> None:
        """Look nowhere yet; the first place that has a path wins."""
        self._folders, self._archives = folders, archives

    def prepare(self) -> None:
        """Make the archives readable; see `Archive.prepare`."""
        for archive in self._archives:
            archive.prepare()

    def version(self) -> str:
        """Changes when there are more pieces of archives, as when a download went on."""
        return ",".join(archive.version for archive in self._archives)

    def read(self, path: str) -> bytes | None:
        """A picture's bytes, or None if no place has that path.

        Raises:
          OSError: the disk fails, or the archives are not prepared.
        """
        path = posixpath.normpath(path)
        if path.startswith(("/", "..")) or "\0" in path:
            return None
        for place in (*map(_Folder, self._folders), *self._archives):
            content = place.read(path)
            if content is not None:
                return content
        return None

    def why_absent(self, role: str) -> str:
        """The reason to give for a picture that is not there."""
        is_whole = all(archive.is_whole() for archive in self._archives)
        return f"{role} not found" if is_whole else f"{role} not in what is left of an archive"


class _Folder:
    """Reads like an archive."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise


def pictures_of(folder: pathlib.Path, scratch: pathlib.Path) -> Pictures:
    """The pictures of a folder that holds archives or what came out of them.

    Args:
      folder: what paths are relative to.
      scratch: see `Archive`.

    Raises:
      ConfigError: a piece of an archive is missing.
    """
    inner = [pathlib.Path(entry) for entry in os.scandir(folder) if entry.is_dir()]
    # An archive that was unpacked may have put a folder of its own around everything.
    folders = [folder, *inner] if len(inner) == 1 else [folder]
    return Pictures(folders, list(archives_in(folder, scratch).values()))


def pair(
    key: str,
    pictures: Pictures,
    source: object,
    target: object,
    instruction: object,
    *,
    captions: tuple[object, object] = ("", ""),
    **fields: Any,
) -> Example | Drop:
    """The pair of two paths, or why it is none.

    Args:
      key: of the example.
      pictures: where the paths lead.
      source, target: paths, as the row has them.
      instruction: text, as the row has it.
      captions: of source and target, as the row has them.
      **fields: others of `Example`.
    """
    for value, reason in (
        (source, "no source named"),
        (target, "no target named"),
        (instruction, "empty instruction"),
    ):
        if not isinstance(value, str) or not value.strip():
            return Drop(key, reason)
    source_caption, target_caption = (x if isinstance(x, str) else "" for x in captions)
    if not _is_text(key + source + target + instruction + source_caption + target_caption):
        return Drop(key, "text is not Unicode")
    contents = {}
    for role, path in (("source", source), ("target", target)):
        content = pictures.read(path)
        if content is None:
            return Drop(key, pictures.why_absent(role))
        contents[role] = content
    return Example(
        key,
        instruction=instruction,
        source_caption=source_caption,
        target_caption=target_caption,
        **contents,
        **fields,
    )


def _is_text(text: str) -> bool:
    """Whether it can be stored: JSON may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
