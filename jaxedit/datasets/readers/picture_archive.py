"""Pictures that a data set refers to by paths: files in folders, or members of archives."""

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
    """Pictures by their paths in folders and archives; picklable."""

    def __init__(self, folders: Sequence[pathlib.Path], archives: Sequence[Archive]) -> None:
        """Store the places without opening them; the first place that has a path is used."""
        self._folders, self._archives = folders, archives

    def prepare(self) -> None:
        """Make the archives readable; see `Archive.prepare`."""
        for archive in self._archives:
            archive.prepare()

    def version(self) -> str:
        """Return a text that changes when pieces of archives are added, as by a later download."""
        return ",".join(archive.version for archive in self._archives)

    def read(self, path: str) -> bytes | None:
        """Return a picture's bytes, or None if no place has the path.

        Raises:
          OSError: the disk fails, or the archives are not prepared.
        """
        path = posixpath.normpath(path)
        if path.startswith(("/", "..")) or "\0" in path:
            return None
        for folder in self._folders:
            try:
                return (folder / path).read_bytes()
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
        contents = (archive.read(path) for archive in self._archives)
        return next((content for content in contents if content is not None), None)

    def why_absent(self, role: str) -> str:
        """Return the reason to report for a picture that is missing."""
        is_whole = all(archive.is_whole() for archive in self._archives)
        return f"{role} not found" if is_whole else f"{role} not in what is left of an archive"


def pictures_of(folder: pathlib.Path, scratch: pathlib.Path) -> Pictures:
    """Return the pictures of a folder with archives or with their unpacked content.

    Args:
      folder: the folder that paths are relative to.

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
    """Return the pair for two paths, or a `Drop` with the reason why there is none.

    Args:
      source, target: paths, unchecked values of the row.
      instruction: text, an unchecked value of the row.
      captions: of source and target, unchecked values of the row.
      **fields: further fields of `Example`.
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
    """Tell whether a text can be stored in UTF-8; JSON may contain lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
