"""The command that draws pictures from prompts.

It is not in `__main__`, from which other processes cannot import it.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit.config import require, require_words
from jaxedit.editor import list_file
from jaxedit.editor.command import Command
from jaxedit.editor.list_file import Row

if TYPE_CHECKING:
    from jaxedit.editor.generator import GenerateResult

EXAMPLES = "infinity-2b, llamagen-t2i-xl-512, llamagen-c2i-b-256"


class GenerateCommand(Command):
    """Draws pictures from prompts."""

    purpose, model_class = "draw", "jaxedit.editor.generator:Generator"
    done, folder, keys = "generated", "generated", list_file.DRAW
    recorded = single = ("prompt",)

    @property
    def name(self) -> str:
        """Return the given name; there is no default."""
        name = self.args.model
        require(name is not None, f"--model is missing: expected one that draws ({EXAMPLES})")
        return name

    def row(self) -> Row:
        """See `Command`."""
        from jaxedit.editor import provenance

        args = self.args
        require(args.prompt is not None, "expected a prompt (--help lists all options)")
        require_words(args.prompt, "prompt")
        provenance.require_writable(args.output or f"{self.done}.png")
        return Row(text=args.prompt, seed=args.seed or 0)

    def recall(self, settings: dict[str, Any], earlier: pathlib.Path) -> None:
        """See `Command`."""
        super().recall(settings, earlier)
        self.args.prompt = settings["prompt"]

    def make(
        self, model: Any, inputs: Sequence[Any], rows: Sequence[Row], **options: Any
    ) -> "list[GenerateResult]":
        """See `Command`."""
        return model.generate_batch(inputs, seeds=[row.seed for row in rows], **options)
