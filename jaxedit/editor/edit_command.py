"""The command that edits photos by instructions.

It is not in `__main__`, from which other processes cannot import it.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit.config import require
from jaxedit.config.families import bundled
from jaxedit.editor import list_file
from jaxedit.editor.command import Command
from jaxedit.editor.list_file import Row

if TYPE_CHECKING:
    from PIL import Image

    from jaxedit.editor.editor import EditResult
    from jaxedit.editor.loaded_model import LoadedModel


class EditCommand(Command):
    """Edits photos by instructions."""

    purpose, model_class = "edit", "jaxedit.editor.editor:Editor"
    done, folder, keys = "edited", "edits", list_file.EDIT
    recorded = ("instruction", "fit", "keep_size", "method", "task", "diagnostics")
    single = ("photo", "diagnostics", "task")

    @property
    def name(self) -> str:
        """Return the given name, or the bundled model for the method or the task."""
        return self.args.model or bundled(self.args.method, has_task=bool(self.args.task))

    def row(self) -> Row:
        """See `Command`: both pictures that are written can be, and neither is the photo."""
        from jaxedit.editor import provenance

        args = self.args
        task = f"--task={args.task}: " if args.task else ""
        require(
            args.photo is not None,
            f"{task}expected a photo and an instruction (--help lists all options)",
        )
        require(
            args.instruction is not None,
            f"{task}photo={args.photo!r}: expected an instruction after it",
        )
        require(
            args.diagnostics is None or args.method == "editar+erec",
            f"--diagnostics: expected --method=editar+erec, found {args.method!r}",
        )
        output = args.output or "edited.png"
        for path in (output, *([args.diagnostics] if args.diagnostics else [])):
            provenance.require_other(provenance.require_writable(path), args.photo)
        return Row(image=args.photo, text=args.instruction, seed=args.seed or 0, output=output)

    def recall(self, settings: dict[str, Any], earlier: pathlib.Path) -> None:
        """See `Command`: the photo's bytes are the same."""
        from jaxedit.editor import provenance

        super().recall(settings, earlier)
        args = self.args
        args.photo = args.photo or provenance.find_source(settings, earlier)
        digest = provenance.sha256(args.photo)
        provenance.require_same(f"{args.photo}: the photo", digest, settings["source_sha256"])
        args.instruction, args.task = settings["instruction"], settings.get("task")
        args.fit = settings.get("fit", "pad")  # older pictures record no fit: all were padded
        args.keep_size = settings.get("keep_size")

    def input_options(self) -> dict[str, Any]:
        """See `Command`."""
        args = self.args
        return {"fit": args.fit, "keep_size": bool(args.keep_size), **super().input_options()}

    def digests(self, row: Row) -> dict[str, str]:
        """See `Command`."""
        from jaxedit.editor import provenance

        return {"source_sha256": provenance.sha256(row.image)}

    def settings(self, model: "LoadedModel", row: Row, result: "EditResult") -> dict[str, Any]:
        """See `Command`: the name of the photo, but not its folder."""
        return super().settings(model, row, result) | {"source": pathlib.Path(row.image).name}

    def read(self, row: Row) -> "Image.Image":
        """See `Command`."""
        from jaxedit.data.pictures import photo

        return photo.read(row.image, is_depth=self.args.task == "depth")

    def make(
        self, model: Any, inputs: Sequence[Any], rows: Sequence[Row], **options: Any
    ) -> "list[EditResult]":
        """See `Command`."""
        texts, seeds = [row.text for row in rows], [row.seed for row in rows]
        return model.edit_batch(inputs, texts, seeds=seeds, task=self.args.task, **options)

    def write(self, row: Row, source: Any, result: Any, settings: dict[str, Any]) -> None:
        """See `Command`; also write the picture of `--diagnostics`."""
        super().write(row, source, result, settings)
        if self.args.diagnostics:
            from jaxedit.editor import provenance
            from jaxedit.erec.panel import panel_of

            provenance.save_png(self.args.diagnostics, panel_of(source, result), settings)
            print(f"{self.args.diagnostics}: maps, mask and paths of the edit")
