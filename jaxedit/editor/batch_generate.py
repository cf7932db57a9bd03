"""Pictures of all rows of a list of prompts: `python -m jaxedit.generate --batch`."""

import argparse
import functools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit.editor import preparation
from jaxedit.editor.list_run import run_list

if TYPE_CHECKING:
    from jaxedit.editor.edit_list import Row
    from jaxedit.editor.generator import Generator
    from jaxedit.editor.pipeline import GenerateResult


class GenerateWork:
    """Draws the prompts of rows; see `list_run.Work`."""

    done = "generated"

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        """Take the model's name, and the options of `Generator.generate_batch`."""
        self.load = functools.partial(preparation.load_generator, name)
        self._options = options

    def describe(self, row: "Row") -> dict[str, Any]:
        """See `list_run.Work`."""
        return {"prompt": row.text}

    def is_same(self, row: "Row", settings: dict[str, Any]) -> bool:
        """See `list_run.Work`: a prompt has no files."""
        return True

    def read(self, model: "Generator", row: "Row") -> str:
        """See `list_run.Work`: the prompt."""
        model.check_prompt(row.text, strict=self._options["strict"])
        return row.text

    def make(
        self, model: "Generator", inputs: Sequence[str], rows: Sequence["Row"]
    ) -> "list[GenerateResult]":
        """See `list_run.Work`."""
        return model.generate_batch(inputs, seeds=[row.seed for row in rows], **self._options)

    def settings(self, model: "Generator", row: "Row", result: "GenerateResult") -> dict[str, Any]:
        """See `list_run.Work`."""
        return result.settings | {"weights_sha256": model.fingerprint}


def generate_list(args: argparse.Namespace, name: str, options: dict[str, Any]) -> int:
    """Draw every row of a list that is not done; bad rows are reported and the others finished."""
    from jaxedit.editor import edit_list

    folder = pathlib.Path(args.output or "generated")
    rows = edit_list.read(pathlib.Path(args.batch), args.seed or 0, folder, needed=edit_list.DRAW)
    request = {"model": name, **preparation.placement(args), "strict": args.strict, **options}
    work = GenerateWork(name, options | {"strict": args.strict})
    return run_list(args, work, rows, folder, options, request)
