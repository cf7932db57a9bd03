"""The lookup of models' names: bundled, a directory, gs://, an official release, or the Hub.

Nothing is converted here: `convert.ensure_converted` does that first.
"""

import json
import os
import pathlib
import re
import shlex
from collections.abc import Sequence

from etils import epath

from jaxedit import assets
from jaxedit.checkpoints import contents
from jaxedit.config import OFFICIAL, WeightSource, family_of, official

CONFIG = "config.json"  # marks a pretrained directory
CONVERTED = "~/.cache/jaxedit/models"  # of converted official releases
TOKENIZER = ("tokenizer.json", "spiece.model", "tokenizer_config.json", "special_tokens_map.json")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

Directory = assets.AnyPath


def resolve(name: str | os.PathLike) -> Directory:
    """Return the pretrained directory of a name.

    Args:
      name: bundled name, directory, gs:// path, official name, or "org/name" on the Hub.

    Raises:
      FileNotFoundError: nothing is there, or the release is not converted yet; one line with the
        files to fetch.
      ValueError: the repository on the Hub is no model of jaxedit.
      OSError: the network or the disk failed.
    """
    text = os.fspath(name)
    if "://" in text:
        path = assets.remote(text)
        _remote(f"{text}/{CONFIG}")
        return path
    if os.path.isdir(text) or text in assets.bundled((CONFIG,)):
        return assets.locate(text, (CONFIG,))
    if text in OFFICIAL:
        if not (converted(text) / CONFIG).is_file():
            raise FileNotFoundError(f"{text!r}: not converted yet; {how_to_bring(text)}")
        return converted(text)
    if text.endswith(contents.SUFFIXES):
        raise FileNotFoundError(f"{text!r}: no such file{_partial(text)}")
    if _HUB_ID.fullmatch(text):
        return _published(text)
    raise FileNotFoundError(
        f"{text!r}: expected a bundled name ({', '.join(assets.bundled((CONFIG,)))}), a directory, "
        "gs://..., an official name (python -m jaxedit.convert --list) or org/name on the Hub"
    )


def tokenizer_home(name: str | os.PathLike) -> str | os.PathLike:
    """Return the directory of a tokenizer; an official release's lies beside converted weights."""
    return resolve(name) if os.fspath(name) in OFFICIAL else name


def converted(name: str) -> pathlib.Path:
    """Return the directory of a converted official release; it need not exist."""
    return pathlib.Path(CONVERTED).expanduser() / name


def locate(text: str | os.PathLike) -> Directory:
    """Return the file or directory to convert.

    Args:
      text: a path, gs://, bundled name, or "org/name" or "org/name/file" on the Hub.

    Raises:
      FileNotFoundError: there is no such path, and the Hub has no such file or was not reached.
    """
    text = os.fspath(text)
    if "://" in text:
        return _remote(text)
    if os.path.exists(text):
        return pathlib.Path(text)
    if text in assets.bundled((CONFIG,)):
        return assets.locate(text, (CONFIG,))
    match = re.fullmatch(rf"({_HUB_ID.pattern})(?:/(.+))?", text)
    partial = _partial(text)
    if match is None or partial:
        raise FileNotFoundError(
            f"{text!r}: no such file or directory{partial}; expected one, an official name "
            "(--list), or org/name or org/name/file on the Hub"
        )
    return fetch(match[1], match[2] or "")


def fetch(repo: str, file: str = "") -> pathlib.Path:
    """Download a file, a folder or all weights of a repository, unless the Hub's cache has them.

    Safetensors are preferred to PyTorch's files; many repositories hold both.

    Args:
      repo: "org/name" on the Hub.
      file: file or folder in the repository; empty: config, tokenizer and weights.

    Returns:
      The file or folder in the Hub's cache.

    Raises:
      FileNotFoundError: the Hub has no such file, or it was not reached and the cache lacks it.
    """
    if file:
        found = _download(repo, [file, f"{file}/*"]) / file
        if not found.exists():
            raise FileNotFoundError(
                f"{repo}/{file}: the Hub (offline: its cache here) has no such file or folder"
            )
        return found
    for kind in ("safetensors", "bin"):
        patterns = (CONFIG, *TOKENIZER, f"*.{kind}", f"*.{kind}.index.json")
        directory = _download(repo, patterns)
        if any(directory.glob(f"*.{kind}")):
            return directory
    raise FileNotFoundError(f"{repo}: expected *.safetensors or *.bin in that repository")


def fetch_source(source: WeightSource) -> pathlib.Path:
    """Download a source of an official release, see `fetch`; FileNotFoundError if on no Hub."""
    if not source.repo:
        raise FileNotFoundError(f"{source.file}: not on the Hub, to be fetched by hand")
    return fetch(source.repo, source.file)


def how_to_bring(name: str) -> str:
    """Return the advice how to get an official release: its files, and how to convert them."""
    release = official(name)
    sources = release.sources
    # A network that is no model by itself has no settings of inference.
    settings = f"--settings={name} " if family_of(release.config).purpose else ""
    files = [source.file or source.repo.split("/")[-1] for source in sources]
    target = shlex.quote(str(converted(name)))
    return (
        f"fetch {', '.join(source.place for source in sources)} on any machine and run "
        f"python -m jaxedit.convert {settings}"
        f"{' '.join(f'--src={file}' for file in files)} --dst={target}"
    )


def _partial(text: str) -> str:
    """Return a remark on the incomplete download of a missing file, or ""."""
    name = contents.partial_beside(pathlib.Path(text))
    return f", but the incomplete download {name}: let it end, or fetch it again" if name else ""


def _published(repo: str) -> pathlib.Path:
    """Return the downloaded directory of a model of jaxedit on the Hub."""
    names = [n for n, release in OFFICIAL.items() if repo in {s.repo for s in release.sources}]
    if names:
        raise FileNotFoundError(f"{repo!r} holds a release: expected one of {', '.join(names)}")
    config = _download(repo, [CONFIG]) / CONFIG
    try:
        is_ours = "jaxedit" in json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        is_ours = False
    if not is_ours:
        raise ValueError(
            f"{repo!r}: not a model of jaxedit; released weights are converted first: "
            f"python -m jaxedit.convert --src={repo} --dst=DIR"
        )
    return _download(repo, [CONFIG, *TOKENIZER, "*.safetensors", "*.safetensors.index.json"])


def _download(repo: str, patterns: Sequence[str]) -> pathlib.Path:
    """Return the repository's folder in the Hub's cache, with all files that match `patterns`."""
    from huggingface_hub import errors, is_offline_mode, snapshot_download

    try:
        return pathlib.Path(snapshot_download(repo, allow_patterns=list(patterns)))
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo!r}: neither a directory here nor a repository of the Hub that you may read"
        ) from error
    except Exception as error:  # huggingface_hub and its dependencies have many kinds
        reason = "HF_HUB_OFFLINE is set" if is_offline_mode() else str(error).splitlines()[0]
        raise FileNotFoundError(
            f"{repo!r}: not a directory here, not in the Hub's cache on this machine, and the Hub "
            f"was not reached ({reason})"
        ) from error


def _remote(text: str) -> epath.Path:
    """Return an existing path on gs:// or another file system of `etils.epath`."""
    path = assets.remote(text)
    if not path.exists():
        raise FileNotFoundError(f"{text}: no such file or directory")
    return path
