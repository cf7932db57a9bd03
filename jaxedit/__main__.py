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
import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jaxedit import console
from jaxedit.arguments import every_option, make_parser, option_names
from jaxedit.config import (
    OFFICIAL,
    PretrainedConfig,
    official,
    require,
    require_int8,
    require_seed,
    settings_of,
)
from jaxedit.console import BAD_INPUT, DONE, exit_code

if TYPE_CHECKING:
    from jaxedit.editor import Editor

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
    from jaxedit.data import photo, provenance

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
    picture = photo.read(args.photo, is_depth=args.task == "depth")
    name, _, options = _checked(args)
    editor = _load(name, **_placement(args))
    editor.check_instruction(args.instruction, args.task)
    _compile(editor, options)
    with _bar(unit="step") as bar:
        result = editor.edit(
            *(picture, args.instruction),
            seed=seed,
            task=args.task,
            progress=_follow(bar),
            **_shape(args),
            **options,
        )
    provenance.save_png(output, result.image, result.settings | _origin(editor, args.photo))
    print(f"{output}: edited in {result.diagnostics['seconds']:.2f} s")
    if panel:
        from jaxedit.erec.panel import panel_of

        settings = result.settings | _origin(editor, args.photo)
        provenance.save_png(panel[0], panel_of(picture, result), settings)
        print(f"{panel[0]}: maps, mask and paths of the edit")
    return DONE


def edit_list(args: argparse.Namespace) -> int:
    """Every row of a list; bad rows are reported and the others finished."""
    from jaxedit.data import edit_list

    require(args.photo is None, f"--batch: expected no photo beside it, found {args.photo!r}")
    require(args.diagnostics is None, "--diagnostics: expected one photo, not a list")
    require(args.task is None, "--task: expected one photo, not a list")
    folder = pathlib.Path(args.output or "edits")
    rows = edit_list.read(pathlib.Path(args.batch), args.seed or 0)
    name, _, options = _checked(args)
    folder.mkdir(parents=True, exist_ok=True)
    failed, start = 0, time.perf_counter()
    with (
        open(folder / "manifest.jsonl", "w", encoding="utf-8") as manifest,
        _bar(total=len(rows), unit="edit") as bar,
    ):
        several = {"rows_per_device": args.rows_per_device, "every_device": True}
        editor = _load(name, **_placement(args), **several)
        _compile(editor, options)
        editor.read_texts([row.instruction for row in rows if not row.error])
        for i in range(0, len(rows), editor.rows):
            for entry in _edit_rows(
                editor, rows[i : i + editor.rows], folder, options | _shape(args)
            ):
                manifest.write(json.dumps(entry) + "\n")
                manifest.flush()
                bar.update()
                if entry["status"] == "failed":
                    failed += 1
                    print(f"error: {entry['row']}: {entry['error']}", file=sys.stderr)
    seconds = time.perf_counter() - start
    print(f"{folder}: {len(rows) - failed} of {len(rows)} edited in {seconds:.1f} s")
    return BAD_INPUT if failed else DONE


def _edit_rows(editor: "Editor", rows: Sequence[Any], folder: pathlib.Path, options: dict) -> list:
    """Manifest entries of the rows that go to the devices together."""
    from jaxedit.data import photo, provenance

    entries: list[dict[str, Any]] = []
    ready, pictures = [], []
    for row in rows:
        entry = {"row": row.place, "image": row.image, "instruction": row.instruction}
        entries.append(entry)
        try:
            require(not row.error, row.error)
            editor.check_instruction(row.instruction)
            (folder / row.output).parent.mkdir(parents=True, exist_ok=True)
            provenance.require_writable(folder / row.output)
            pictures.append(photo.read(row.image))
            ready.append((entry, row))
        except (ValueError, OSError) as error:
            entry |= {"status": "failed", "error": str(error)}
    if not ready:
        return entries
    instructions, seeds = [row.instruction for _, row in ready], [row.seed for _, row in ready]
    results = editor.edit_batch(pictures, instructions, seeds=seeds, **options)
    for (entry, row), result in zip(ready, results, strict=True):
        try:
            settings = result.settings | _origin(editor, row.image)
            provenance.save_png(folder / row.output, result.image, settings)
            entry |= {"status": "ok", "output": row.output, "seed": row.seed, "settings": settings}
        except OSError as error:
            entry |= {"status": "failed", "error": str(error)}
    return entries


def replay(args: argparse.Namespace) -> int:
    """An edited picture again, from the settings in it."""
    from jaxedit.data import photo, provenance

    fixed = (
        *("instruction", "seed", "fit", "keep_size", "method", "task", "int8", "diagnostics"),
        *("dtype", "t5_dtype"),
        *every_option(),
    )
    given = [name for name in fixed if getattr(args, name) is not None]
    require(not given, f"--from_png takes {', '.join(given)} from the file: leave that out")
    earlier = pathlib.Path(args.from_png)
    settings = provenance.read_settings(earlier)
    output = provenance.require_writable(args.output or f"{earlier.stem}-again.png")
    require(
        output.absolute() != earlier.absolute(), f"--output {output}: expected another name than it"
    )
    source = args.photo or settings["source"]
    require(
        pathlib.Path(source).is_file(),
        f"{source}: the photo is not there any more; give its path before --from_png",
    )
    found = provenance.sha256(source)
    _require_same(f"{source}: the photo", found, settings["source_sha256"])
    editor = _load(
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
    known = option_names(editor.config, settings["method"])
    options = {name: settings[name] for name in ("method", *known) if name in settings}
    _compile(editor, options)
    words, seed, task = settings["instruction"], settings["seed"], settings.get("task")
    # Earlier files do not say how, because every picture was padded.
    options |= {"fit": settings.get("fit", "pad"), "keep_size": settings.get("keep_size", False)}
    result = editor.edit(source, words, seed=seed, task=task, **options)
    provenance.save_png(output, result.image, result.settings | _origin(editor, source))
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
    name, config, options = _checked(args)
    import jax

    from jaxedit.editor import memory
    from jaxedit.parallel.memory import fits, room_of, table

    settings = settings_of(config, options.pop("method"), options)
    is_here = args.memory_gb is None and jax.default_backend() == "cpu"
    plan = memory.Plan(
        dtype=args.dtype or ("float32" if is_here else "bfloat16"),
        t5_dtype=args.t5_dtype,
        rows=args.rows_per_device,
        text="host" if args.text_on_host else "file" if args.text_features else "device",
        int8=args.int8 or (),
    )
    room = room_of(jax.local_devices()[0], args.memory_gb)
    found = memory.entries(config, settings, plan)
    changes = [] if fits(found, room) else memory.levers(config, settings, plan)
    print(table(f"{name}, on each device:", found, room, changes))
    return DONE if fits(found, room) else TOO_LARGE


def _placement(args: argparse.Namespace) -> dict[str, Any]:
    """How the weights are kept."""
    return {
        "dtype": args.dtype,
        "t5_dtype": args.t5_dtype,
        "int8": args.int8 or (),
        "text_on_host": args.text_on_host,
        "text_features": args.text_features,
    }


def _shape(args: argparse.Namespace) -> dict[str, Any]:
    """How pictures become squares, and edits pictures."""
    return {"fit": args.fit, "keep_size": bool(args.keep_size)}


def _checked(args: argparse.Namespace) -> tuple[str, PretrainedConfig, dict[str, Any]]:
    """The model's name and settings and the given options, checked before weights are read."""
    from jaxedit.convert.pretrained import read_config, resolve

    is_editar = args.task or (args.method or "").startswith("editar")
    name = args.model or ("toy-editar" if is_editar else "toy-varedit")
    is_known = args.dry_run and name in OFFICIAL
    config = official(name).config if is_known else read_config(resolve(name))
    options = {key: getattr(args, key) for key in every_option()}
    given = {key: value for key, value in options.items() if value is not None}
    settings_of(config, args.method, given)
    require(
        args.diagnostics is None or args.method == "editar+erec",
        f"--diagnostics: expected --method=editar+erec, found {args.method!r}",
    )
    return name, config, {"method": args.method, **given}


def _bar(**options: Any) -> Any:
    """A progress bar, where somebody is looking."""
    from tqdm import tqdm

    return tqdm(disable=not sys.stderr.isatty(), leave=False, **options)


def _follow(bar: Any) -> Callable[[int, int], None]:
    """A report of (done, steps) that moves the bar."""

    def report(done: int, steps: int) -> None:
        bar.total = steps
        bar.update(done - bar.n)

    return report


def _load(name: str, *, every_device: bool = False, **options: Any) -> "Editor":
    """The editor, ready to run."""
    import jax

    from jaxedit.config import MeshConfig
    from jaxedit.editor import Editor
    from jaxedit.parallel.mesh import make_mesh

    several = every_device and jax.local_device_count() > 1
    mesh = make_mesh(MeshConfig(), jax.local_devices()) if several else None
    start = time.perf_counter()
    editor = Editor.from_pretrained(name, mesh=mesh, **options)
    device = jax.devices()[0].device_kind
    print(f"{editor.name}: loaded in {time.perf_counter() - start:.1f} s on {device}", flush=True)
    return editor


def _compile(editor: "Editor", options: dict[str, Any]) -> None:
    """Compile, so that the time of the edit itself can be told apart."""
    seconds = editor.compile(**options)
    from jaxedit import compile_cache

    print(f"compiled in {seconds:.1f} s ({compile_cache.where()})", flush=True)


def _origin(editor: "Editor", source: str) -> dict[str, Any]:
    """Which files an edit was made from."""
    from jaxedit.data import provenance

    return {
        "source": str(pathlib.Path(source).absolute()),
        "source_sha256": provenance.sha256(source),
        "weights_sha256": editor.fingerprint,
    }


def _require_same(what: str, found: str, expected: str) -> None:
    require(found == expected, f"{what} changed: sha256 {found[:12]}, expected {expected[:12]}")


def run() -> None:
    """Entry point of `jaxedit`."""
    console.run(main)


if __name__ == "__main__":
    run()
