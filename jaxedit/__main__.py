"""Edit pictures from the command line.

    python -m jaxedit photo.jpg "make the ball blue" --seed 1 --output edited.png
    python -m jaxedit photo.jpg "remove the ball" --method editar+erec --diagnostics panel.png
    python -m jaxedit depth.png "a red ball at night" --task depth
    python -m jaxedit --batch list.jsonl --output edits/
    python -m jaxedit --from_png edited.png
    python -m jaxedit --model varedit-8b-512 --dry_run --memory_gb 16

A list has one JSON object per line: {"image": ..., "instruction": ...}, perhaps with "seed" and
"output". Each picture written carries its settings; --from_png makes it again from them.
--dry_run prints what would be in the memory of each device; an official name needs no weights then.
Exit codes: 0 done; 1 a replayed picture came out differently, a dry run does not fit; 2 bad input.
"""

import argparse
from collections.abc import Sequence

from jaxedit import console
from jaxedit.config import require, require_int8, require_seed
from jaxedit.console import DONE, exit_code
from jaxedit.editor import dry_run, preparation, replay
from jaxedit.editor.arguments import make_parser
from jaxedit.editor.batch_edit import edit_list
from jaxedit.progress import follow, progress_bar


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: _run(make_parser(__doc__).parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    require_int8(args.int8 or ())
    require(not (args.batch and args.from_png), "--batch and --from_png: expected one of them")
    if args.dry_run:
        dry_run.check(args)
        return dry_run.show(args, *preparation.checked_edit(args))
    if args.batch:
        return edit_list(args)
    if args.from_png:
        return replay_edit(args)
    return edit_photo(args)


def edit_photo(args: argparse.Namespace) -> int:
    """One photo, one instruction."""
    from jaxedit.data.pictures import photo
    from jaxedit.editor import provenance

    task = f"--task={args.task}: " if args.task else ""
    require(
        args.photo is not None,
        f"{task}expected a photo and an instruction (--help lists all options)",
    )
    require(
        args.instruction is not None,
        f"{task}photo={args.photo!r}: expected an instruction after it",
    )
    seed = args.seed or 0
    require_seed(seed)
    outputs = [args.output or "edited.png", *([args.diagnostics] if args.diagnostics else [])]
    output, *panel = map(provenance.require_writable, outputs)
    for path in (output, *panel):
        provenance.require_other(path, args.photo)
    picture = photo.read(args.photo, is_depth=args.task == "depth")
    name, _, options = preparation.checked_edit(args)
    editor = preparation.load_editor(name, **preparation.placement(args))
    editor.check_instruction(args.instruction, args.task, strict=args.strict)
    preparation.compile(editor, options)
    with progress_bar("steps") as bar:
        result = editor.edit(
            *(picture, args.instruction),
            seed=seed,
            task=args.task,
            progress=follow(bar),
            **preparation.shape(args),
            **options,
        )
    provenance.save_png(
        output, result.image, result.settings | preparation.origin(editor, args.photo)
    )
    print(f"{output}: edited in {result.diagnostics['seconds']:.2f} s")
    if panel:
        from jaxedit.erec.panel import panel_of

        settings = result.settings | preparation.origin(editor, args.photo)
        provenance.save_png(panel[0], panel_of(picture, result), settings)
        print(f"{panel[0]}: maps, mask and paths of the edit")
    return DONE


def replay_edit(args: argparse.Namespace) -> int:
    """An edited picture again, from the settings in it."""
    from jaxedit.editor import provenance
    from jaxedit.editor.editor import Editor

    fixed = ("instruction", "fit", "keep_size", "method", "task", "diagnostics")
    earlier, settings, output = replay.read(args, fixed, provenance.EDITED)
    source = args.photo or provenance.find_source(settings, earlier)
    replay.require_same(
        f"{source}: the photo", provenance.sha256(source), settings["source_sha256"]
    )
    provenance.require_other(output, source)
    editor, options = replay.load(Editor, args, settings)
    words, seed, task = settings["instruction"], settings["seed"], settings.get("task")
    # Earlier files do not say how, because every picture was padded.
    options |= {"fit": settings.get("fit", "pad"), "keep_size": settings.get("keep_size", False)}
    result = editor.edit(source, words, seed=seed, task=task, **options)
    provenance.save_png(output, result.image, result.settings | preparation.origin(editor, source))
    return replay.compare(result.image, output, earlier, settings, result.settings)


def run() -> None:
    """Entry point of `jaxedit`."""
    console.run(main)


if __name__ == "__main__":
    run()
