"""The publication of a pretrained directory on the Hugging Face Hub."""

import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

from jaxedit.checkpoints.hub import resolve
from jaxedit.checkpoints.pretrained import CARD, open_pretrained
from jaxedit.config import require

REPO = re.compile(r"[\w.-]+/[\w.-]+")


def push_to_hub(
    model: str | os.PathLike,
    repo: str,
    *,
    private: bool = False,
    say: Callable[[str], Any] = print,
) -> str:
    """Publish a model as one commit, so that others can load it by the name of the repository.

    The model card then names the repository in its commands. Write access is what the command
    `hf auth login`, or the variable HF_TOKEN, gives.

    Args:
      model: bundled name or local directory, such as the `export` of a training run.
      repo: "org/name" on the Hub, made if it is not there.
      private: make a new repository private.
      say: takes a line before the upload.

    Returns:
      The address of the model.

    Raises:
      ConfigError: `repo` is no such name, or the model is damaged or not local.
      OSError: a file is missing, or the Hub refused or was not reached; one line.
    """
    require_repo(repo)
    directory = resolve(model)
    require(isinstance(directory, pathlib.Path), f"{directory}: expected a local directory")
    open_pretrained(directory)  # complete, and its files fit each other
    files = sorted(
        path for path in directory.iterdir() if path.is_file() and path.name[0] not in "._"
    )
    size = sum(path.stat().st_size for path in files) / 1e6
    say(f"publishing {len(files)} files, {size:,.0f} MB, as {repo}")
    return _upload(repo, {path.name: _content(path, repo) for path in files}, private)


def require_repo(repo: str) -> None:
    """Raise ConfigError unless a text is the name of a repository."""
    require(bool(REPO.fullmatch(repo)), f"{repo!r}: expected org/name, a repository of the Hub")


def _content(path: pathlib.Path, repo: str) -> pathlib.Path | bytes:
    """Return what is published of a file: the file itself, or the card with its new name."""
    if path.name != CARD:
        return path
    card = path.read_text("utf-8")
    heading = re.search(r"^# (.+)$", card, re.M)
    if heading:
        # in commands --model=NAME, in Python from_pretrained("NAME")
        card = re.sub(rf'(?<=[="]){re.escape(heading[1])}(?=["\s])', repo, card)
        card = card.replace(heading[0], f"# {repo.split('/')[1]}", 1)
    return card.encode("utf-8")


def _upload(repo: str, files: dict[str, pathlib.Path | bytes], private: bool) -> str:
    """Make a commit of all files; return the repository's address."""
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    api = HfApi()
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(repo, operations, commit_message="Publish a model of jaxedit")
    except errors.LocalTokenNotFoundError as error:
        raise OSError(f"{repo!r}: not published: run hf auth login, or set HF_TOKEN") from error
    except Exception as error:  # huggingface_hub and its dependencies have many kinds
        raise OSError(f"{repo!r}: not published: {str(error).strip().splitlines()[0]}") from error
    return str(address)
