"""Edit pictures from the command line.

    python -m jaxedit photo.jpg "make the ball blue" --seed 1 --output edited.png
    python -m jaxedit --batch list.jsonl --output edits/
    python -m jaxedit --from_png edited.png

A list has one JSON object per line: {"image": ..., "instruction": ...}, perhaps with "seed" and
"output". Each picture written carries its settings; --from_png makes it again from them.
Exit codes: 0 done; 1 a replayed picture came out differently; 2 bad input.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from jaxedit import __version__
from jaxedit.config import SampleConfig, require, require_seed

if TYPE_CHECKING:
    from jaxedit.editor import Editor

DONE, DIFFERENT, BAD_INPUT = 0, 1, 2
SAMPLING = ("guidance", "temperature", "top_p", "greedy")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"error: {message} (--help lists all options)\n")


def make_parser() -> argparse.ArgumentParser:
    """All arguments of the command."""
    parser = _Parser(
        prog="python -m jaxedit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("photo", nargs="?", help="picture to edit")
    add("instruction", nargs="?", help="what to change, in words")
    add("--model", help="bundled name or directory (default toy-varedit)")
    add("--seed", type=int, help="0 to 2**31 - 1 (default 0); row i of a list has seed + i")
    add("--guidance", type=float, help="strength of the instruction, 1 = none")
    add("--temperature", type=float, help="below 1 draws likelier bits")
    add("--top_p", type=float, help="nucleus in (0, 1], 1 = off")
    add("--greedy", action="store_true", default=None, help="always take the likelier bit")
    add("--output", help="file (default edited.png), or folder of a list (default edits)")
    add("--batch", metavar="LIST", help="edit every row of a JSONL list")
    add("--from_png", metavar="PNG", help="make an edited picture again, bit for bit")
    add("--rows_per_device", type=int, default=1, help="pictures of a list edited at once")
    add("--version", action="version", version=f"jaxedit {__version__}")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    try:
        args = make_parser().parse_args(argv)
        require(not (args.batch and args.from_png), "--batch and --from_png: expected one of them")
        if args.batch:
            return edit_list(args)
        if args.from_png:
            return replay(args)
        return edit_photo(args)
    except SystemExit as done:  # --help, --version, wrong arguments
        return int(done.code or 0)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT


def edit_photo(args: argparse.Namespace) -> int:
    """One photo, one instruction."""
    from jaxedit.data import photo, provenance

    require(
        args.photo is not None, "expected a photo and an instruction (--help lists all options)"
    )
    require(args.instruction is not None, f"photo={args.photo!r}: expected an instruction after it")
    seed, options = args.seed or 0, _sampling(args)
    require_seed(seed)
    output = provenance.require_writable(args.output or "edited.png")
    picture = photo.read(args.photo)
    editor = _load(args.model or "toy-varedit")
    editor.check_instruction(args.instruction)
    _compile(editor, options)
    result = editor.edit(picture, args.instruction, seed=seed, **options)
    provenance.save_png(output, result.image, result.settings | _origin(editor, args.photo))
    print(f"{output}: edited in {result.diagnostics['seconds']:.2f} s")
    return DONE


def edit_list(args: argparse.Namespace) -> int:
    """Every row of a list; bad rows are reported and the others finished."""
    from tqdm import tqdm

    from jaxedit.data import edit_list

    require(args.photo is None, f"--batch: expected no photo beside it, found {args.photo!r}")
    options, folder = _sampling(args), pathlib.Path(args.output or "edits")
    rows = edit_list.read(pathlib.Path(args.batch), args.seed or 0)
    folder.mkdir(parents=True, exist_ok=True)
    failed, start = 0, time.perf_counter()
    with (
        open(folder / "manifest.jsonl", "w", encoding="utf-8") as manifest,
        tqdm(total=len(rows), unit="edit", disable=not sys.stderr.isatty()) as bar,
    ):
        editor = _load(
            args.model or "toy-varedit", rows_per_device=args.rows_per_device, every_device=True
        )
        _compile(editor, options)
        for i in range(0, len(rows), editor.rows):
            for entry in _edit_rows(editor, rows[i : i + editor.rows], folder, options):
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

    given = [n for n in ("instruction", "seed", *SAMPLING) if getattr(args, n) is not None]
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
        rows_per_device=settings["rows_per_device"],
    )
    where = f"{editor.name}: the weights"
    _require_same(where, editor.fingerprint, settings["weights_sha256"])
    options = {name: settings[name] for name in SAMPLING}
    _compile(editor, options)
    words, seed = settings["instruction"], settings["seed"]
    result = editor.edit(photo.read(source), words, seed=seed, **options)
    provenance.save_png(output, result.image, result.settings | _origin(editor, source))
    if result.image.tobytes() != photo.read(earlier).tobytes():
        made = f"{settings['backend']}, {settings['versions']}"
        here = f"{result.settings['backend']}, {result.settings['versions']}"
        print(f"{output}: differs from {earlier} (made on {made}; here {here})", file=sys.stderr)
        return DIFFERENT
    print(f"{output}: equal to {earlier} bit for bit")
    return DONE


def _sampling(args: argparse.Namespace) -> dict[str, Any]:
    """The sampling options that were given, checked before the model is loaded."""
    given = {name: getattr(args, name) for name in SAMPLING if getattr(args, name) is not None}
    SampleConfig(**given).validate(1)
    return given


def _load(
    name: str, *, dtype: str | None = None, rows_per_device: int = 1, every_device: bool = False
) -> "Editor":
    """The editor, ready to run."""
    import jax

    from jaxedit.config import MeshConfig
    from jaxedit.editor import Editor
    from jaxedit.parallel.mesh import make_mesh

    several = every_device and jax.local_device_count() > 1
    mesh = make_mesh(MeshConfig(), jax.local_devices()) if several else None
    start = time.perf_counter()
    editor = Editor.from_pretrained(name, dtype=dtype, mesh=mesh, rows_per_device=rows_per_device)
    device = jax.devices()[0].device_kind
    print(f"{editor.name}: loaded in {time.perf_counter() - start:.1f} s on {device}", flush=True)
    return editor


def _compile(editor: "Editor", options: dict[str, Any]) -> None:
    """Compile, so that the time of the edit itself can be told apart."""
    seconds = editor.compile(editor.sample_settings(**options).greedy)
    print(f"compiled in {seconds:.1f} s (kept on disk for the next start)", flush=True)


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
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
