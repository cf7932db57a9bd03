"""The command that edits photos by instructions.

It is not in `__main__`, from which other processes cannot import it.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxedit.config import require, require_feather, require_words
from jaxedit.config.families import bundled
from jaxedit.editor import list_file
from jaxedit.editor.command import Command
from jaxedit.editor.list_file import Row

if TYPE_CHECKING:
    from PIL import Image

    from jaxedit.data.given_mask import GivenMask
    from jaxedit.editor.editor import EditResult
    from jaxedit.editor.loaded_model import LoadedModel


class EditCommand(Command):
    """Edits photos by instructions."""

    purpose, model_class = "edit", "jaxedit.editor.editor:Editor"
    done, folder, keys = "edited", "edits", list_file.EDIT
    recorded = ("instruction", "fit", "keep_size", "feather", "method", "task", "diagnostics")
    single = ("photo", "diagnostics", "task", "mask")

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
        require_words(args.instruction, "instruction")
        require(
            args.diagnostics is None or "+erec" in (args.method or ""),
            f"--diagnostics: expected --method=varedit+erec or editar+erec, found {args.method!r}",
        )
        require(
            args.diagnostics is None or args.passes != "one",
            "--diagnostics: expected --passes=two: one pass decodes no whole reconstruction",
        )
        require(not (args.task and args.mask), f"{task}expected no --mask beside it")
        require(
            args.mask is not None or args.feather is None,
            f"--feather={args.feather}: expected a --mask",
        )
        require_feather(args.feather)
        mask = args.mask or ""
        provenance.require_writable(args.output or f"{self.done}.png")
        for path in filter(None, (args.output, args.diagnostics)):
            written = provenance.require_writable(path)
            provenance.require_other(written, args.photo)
            provenance.require_other(written, mask, "mask")
        return Row(image=args.photo, mask=mask, text=args.instruction, seed=args.seed or 0)

    def rows(self, folder: pathlib.Path) -> list[Row]:
        """See `Command`; the list may be a folder, whose pictures share the one instruction."""
        args = self.args
        pictures = pathlib.Path(args.batch)
        require(pictures.exists(), f"--batch={args.batch}: no such list or folder")
        if not pictures.is_dir():
            return super().rows(folder)
        words, args.photo = args.photo, None  # the only positional argument
        require(
            bool((words or "").strip()) and args.instruction is None,
            f"--batch={args.batch}: a folder: expected one instruction, for all its pictures",
        )
        for name in self.single:
            require(getattr(args, name) is None, f"--{name}: expected no folder as --batch")
        return list_file.of_folder(pictures, words, args.seed or 0, folder)

    def recall(self, settings: dict[str, Any], earlier: pathlib.Path) -> None:
        """See `Command`: the photo's bytes are the same."""
        from jaxedit.editor import provenance

        super().recall(settings, earlier)
        args = self.args
        args.photo = args.photo or provenance.find_source(settings, earlier)
        digest = provenance.sha256(args.photo)
        provenance.require_same(f"{args.photo}: the photo", digest, settings["source_sha256"])
        self._recall_mask(settings, earlier)
        args.instruction, args.task = settings["instruction"], settings.get("task")
        args.fit = settings.get("fit", "pad")  # older pictures record no fit: all were padded
        args.keep_size = settings.get("keep_size")

    def _recall_mask(self, settings: dict[str, Any], earlier: pathlib.Path) -> None:
        """Find the mask of an earlier edit: the mask's bytes are the same."""
        from jaxedit.editor import provenance

        args = self.args
        args.feather = settings.get("feather")
        if "mask" not in settings:
            require(args.mask is None, "--mask: expected none: the earlier edit had no mask")
            return
        hint = "the mask is not there any more; give its path by --mask"
        args.mask = args.mask or provenance.find_source(settings, earlier, "mask", hint)
        digest = provenance.sha256(args.mask)
        provenance.require_same(f"{args.mask}: the mask", digest, settings["mask_sha256"])

    def input_options(self) -> dict[str, Any]:
        """See `Command`."""
        args = self.args
        require_feather(args.feather)
        feather = {} if args.feather is None else {"feather": args.feather}
        return {
            "fit": args.fit,
            "keep_size": bool(args.keep_size),
            **feather,
            **super().input_options(),
        }

    def digests(self, row: Row) -> dict[str, str]:
        """See `Command`."""
        from jaxedit.editor import provenance

        files = {"source": row.image} | ({"mask": row.mask} if row.mask else {})
        return {f"{name}_sha256": provenance.sha256(file) for name, file in files.items()}

    def settings(self, model: "LoadedModel", row: Row, result: "EditResult") -> dict[str, Any]:
        """See `Command`: the names of the photo and of the mask, but not their folders."""
        names = {"source": pathlib.Path(row.image).name}
        if row.mask:
            names["mask"] = pathlib.Path(row.mask).name
        return super().settings(model, row, result) | names

    def describe(self, row: Row) -> dict[str, str]:
        """See `Command`."""
        return super().describe(row) | ({"mask": row.mask} if row.mask else {})

    def read(self, row: Row) -> "tuple[Image.Image, GivenMask | None]":
        """See `Command`: the photo and its mask, which fit each other."""
        from jaxedit.data import given_mask
        from jaxedit.data.pictures import photo

        picture = photo.read(row.image, is_depth=self.args.task == "depth")
        if not row.mask:
            return picture, None
        return picture, given_mask.fit_to(given_mask.read(row.mask), picture.size)

    def check(self, model: Any, row: Row, source: "tuple[Image.Image, GivenMask | None]") -> None:
        """See `Command`: the model sees a part of the mask."""
        super().check(model, row, source)
        model.check_mask(source[1], fit=self.args.fit)

    def make(
        self, model: Any, inputs: Sequence[Any], rows: Sequence[Row], **options: Any
    ) -> "list[EditResult]":
        """See `Command`."""
        photos, masks = zip(*inputs, strict=True)
        return model.edit_batch(
            photos,
            [row.text for row in rows],
            seeds=[row.seed for row in rows],
            masks=masks,
            task=self.args.task,
            **options,
        )

    def write(self, row: Row, source: Any, result: Any, settings: dict[str, Any]) -> None:
        """See `Command`; also say what the mask marks, and write the picture of `--diagnostics`."""
        super().write(row, source, result, settings)
        picture, mask = source
        if mask:
            share = f"{mask.pixels.mean():.0%} of the picture"
            print(f"{row.mask}: edited where it is {mask.convention}, {share}")
        if self.args.diagnostics:
            from jaxedit.editor import provenance
            from jaxedit.erec.panel import panel_of

            provenance.save_png(self.args.diagnostics, panel_of(picture, result), settings)
            print(f"{self.args.diagnostics}: maps, mask and paths of the edit")
