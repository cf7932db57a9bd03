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
import pathlib
import sys
from collections.abc import Sequence

from jaxedit import console
from jaxedit.config import require, require_int8, require_seed, settings_of
from jaxedit.config.methods import PART_OF, options_of
from jaxedit.console import DONE, exit_code
from jaxedit.editor import preparation
from jaxedit.editor.arguments import make_parser
from jaxedit.editor.batch_edit import edit_list
from jaxedit.progress import follow, progress_bar

DIFFERENT, TOO_LARGE = 1, 1


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: _run(make_parser(__doc__).parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    require_int8(args.int8 or ())
    require(not (args.batch and args.from_png), "--batch and --from_png: expected one of them")
    if args.dry_run:
        return dry_run(args)
    if args.batch:
        return edit_list(args)
    if args.from_png:
        return replay(args)
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
    name, _, options = preparation.checked(args)
    editor = preparation.load(name, **preparation.placement(args))
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


def replay(args: argparse.Namespace) -> int:
    """An edited picture again, from the settings in it."""
    from jaxedit.data.pictures import photo
    from jaxedit.editor import provenance

    fixed = (
        *("instruction", "seed", "fit", "keep_size", "method", "task", "int8", "diagnostics"),
        *("dtype", "t5_dtype"),
        *PART_OF,
    )
    given = [name for name in fixed if getattr(args, name) is not None]
    require(not given, f"--from_png takes {', '.join(given)} from the file: leave that out")
    earlier = pathlib.Path(args.from_png)
    settings = provenance.read_settings(earlier)
    output = provenance.require_writable(args.output or f"{earlier.stem}-again.png")
    require(
        output.absolute() != earlier.absolute(), f"--output {output}: expected another name than it"
    )
    source = args.photo or provenance.find_source(settings, earlier)
    _require_same(f"{source}: the photo", provenance.sha256(source), settings["source_sha256"])
    provenance.require_other(output, source)
    editor = preparation.load(
        args.model or settings["model"],
        dtype=settings["dtype"],
        t5_dtype=settings.get("t5_dtype", settings["dtype"]),  # in older pictures they are one
        text_on_host=settings.get("text_on_host", args.text_on_host),
        text_features=args.text_features,
        rows_per_device=settings["rows_per_device"],
        int8=settings.get("int8", ()),
    )
    where = f"{editor.name}: the weights"
    _require_same(where, editor.fingerprint, settings["weights_sha256"])
    known = options_of(settings["method"])
    options = {name: settings[name] for name in ("method", *known) if name in settings}
    preparation.compile(editor, options)
    words, seed, task = settings["instruction"], settings["seed"], settings.get("task")
    # Earlier files do not say how, because every picture was padded.
    options |= {"fit": settings.get("fit", "pad"), "keep_size": settings.get("keep_size", False)}
    result = editor.edit(source, words, seed=seed, task=task, **options)
    provenance.save_png(output, result.image, result.settings | preparation.origin(editor, source))
    if result.image.tobytes() != photo.read(earlier).tobytes():
        made = f"{settings['backend']}, {settings['versions']}"
        here = f"{result.settings['backend']}, {result.settings['versions']}"
        print(f"{output}: differs from {earlier} (made on {made}; here {here})", file=sys.stderr)
        return DIFFERENT
    print(f"{output}: equal to {earlier} bit for bit")
    return DONE


def dry_run(args: argparse.Namespace) -> int:
    """The table of what would be in memory, from the settings alone."""
    require(not args.from_png, "--dry_run: expected no --from_png")
    require(
        args.rows_per_device > 0, f"--rows_per_device={args.rows_per_device}: expected 1 or more"
    )
    name, config, options = preparation.checked(args)
    import jax

    from jaxedit.editor import edit_memory
    from jaxedit.planning.device_memory import fits, memory_of_device, table

    settings = settings_of(config, options.pop("method"), options)
    is_here = args.memory_gb is None and jax.default_backend() == "cpu"
    plan = edit_memory.Plan(
        dtype=args.dtype or ("float32" if is_here else "bfloat16"),
        t5_dtype=args.t5_dtype,
        rows=args.rows_per_device,
        text="host" if args.text_on_host else "file" if args.text_features else "device",
        int8=args.int8 or (),
    )
    room = memory_of_device(jax.local_devices()[0], args.memory_gb)
    found = edit_memory.memory_items(config, settings, plan)
    changes = [] if fits(found, room) else edit_memory.memory_savings(config, settings, plan)
    print(table(f"{name}, on each device:", found, room, changes))
    return DONE if fits(found, room) else TOO_LARGE


def _require_same(what: str, found: str, expected: str) -> None:
    require(found == expected, f"{what} changed: sha256 {found[:12]}, expected {expected[:12]}")


def run() -> None:
    """Entry point of `jaxedit`."""
    console.run(main)


if __name__ == "__main__":
    run()
