"""Released weights in, ours out; and back; and a look at what is there.

    python -m jaxedit.convert --src=varedit-2b-512 --dst=models/varedit-2b-512
    python -m jaxedit.convert --src=2B-512.pth --src=infinity_vae_d32reg.pth --src=flan-t5-xl/ \\
        --settings=varedit-2b-512 --dst=models/varedit-2b-512
    python -m jaxedit.convert --check models/varedit-2b-512
    python -m jaxedit.convert --export=torch --src=models/varedit-2b-512 --dst=original

An editor is made of three networks, transformer, image tokenizer and text encoder, each with its
own --src, or of one official name that stands for all three (--list). One network alone becomes a
directory of its own. What a file holds is told by the shapes in it. A schedule, rotary positions
and sampling are in no file: they come from --settings or, where one release fits, from there.
Exit codes: 0 done, or sound; 2 bad input, or not sound.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxedit import console
from jaxedit.config import OFFICIAL, family_of, require
from jaxedit.config.families import BY_TYPE
from jaxedit.console import BAD_INPUT, DONE, Parser, exit_code

if TYPE_CHECKING:
    from jaxedit.checkpoints.hub import Directory

PROMPTS = {"text": "a photo of a cat", "class": "0"}  # by what a model reads, for --check
DTYPES = {"bf16": "bfloat16", "f32": "float32", "f16": "float16"}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: _run(make_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    if args.list:
        print("\n".join(releases()))
        return DONE
    if args.check:
        return _check(args)
    require(bool(args.src), "--src is missing: what to convert (--help)")
    require(bool(args.dst), "--dst is missing: the directory to write")
    return _export(args) if args.export else _convert(args)


def make_parser() -> argparse.ArgumentParser:
    """All arguments of the command."""
    parser = Parser(
        prog="python -m jaxedit.convert",
        usage="python -m jaxedit.convert --src=SRC [--src=SRC ...] --dst=DIR [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--src",
        action="append",
        metavar="SRC",
        help="file or directory (PyTorch or safetensors), gs://, official name, org/name or "
        "org/name/file on the Hub, or a model of ours; repeat it for the parts of an editor",
    )
    add("--dst", metavar="DIR", help="directory to write, local or gs://")
    add(
        "--dtype",
        choices=(*DTYPES, *DTYPES.values()),
        help="of the weights (default bf16, which gives each the dtype in which it runs on an "
        "accelerator; with --export as they are)",
    )
    add(
        "--kind",
        default="auto",
        help=f"what every --src must hold: {', '.join(BY_TYPE)} (default auto)",
    )
    add(
        "--settings",
        metavar="NAME",
        help="official name, or model of ours, whose settings of inference the result gets",
    )
    add("--tokenizer", metavar="DIR", help="text tokenizer (default: beside the text encoder)")
    add(
        "--ema",
        action="store_true",
        help="take the moving average of a training run's weights, of every --src that has one",
    )
    add("--overwrite", action="store_true", help="replace another model that lies at --dst")
    add("--export", choices=("torch",), help="write a model of ours under the original names")
    add("--list", action="store_true", help="the official names: files, licences")
    check = parser.add_argument_group("check")
    check.add_argument("--check", metavar="DIR", help="look at a model of ours: is it sound?")
    check.add_argument("--picture", metavar="FILE", help="for the image tokenizer (default: a toy)")
    check.add_argument("--prompt", help="what a base model draws (default: a cat, or class 0)")
    check.add_argument(
        "--output", metavar="PNG", help="what it makes of it (default DIR-check.png)"
    )
    return parser


def releases() -> list[str]:
    """The official names with their files and licences, as lines."""
    lines = []
    for name, release in OFFICIAL.items():
        lines.append(f"{name}{f' ({release.about})' if release.about else ''}")
        lines += [f"    {s.kind:<8} {s.place} (licence: {s.licence})" for s in release.sources]
    return lines


def _convert(args: argparse.Namespace) -> int:
    from jaxedit.convert.convert import ConversionConfig, convert

    order = ConversionConfig(
        src=tuple(args.src),
        dst=args.dst,
        dtype=DTYPES.get(args.dtype, args.dtype or "bfloat16"),
        kind=args.kind,
        settings=args.settings or "",
        tokenizer=args.tokenizer or "",
        ema=args.ema,
        overwrite=args.overwrite,
    )
    convert(order)
    return DONE


def _export(args: argparse.Namespace) -> int:
    from jaxedit.convert.export import export

    require(len(args.src) == 1, f"--src={args.src}: expected one model of ours to export")
    export(args.src[0], args.dst, DTYPES.get(args.dtype, args.dtype))
    return DONE


def _check(args: argparse.Namespace) -> int:
    from jaxedit.checkpoints.pretrained import read_config
    from jaxedit.convert.check import SCENE, check
    from jaxedit.convert.ensure_converted import ensure_converted
    from jaxedit.editor.provenance import require_writable

    require(not (args.src or args.dst), "--check: expected no --src and no --dst beside it")
    directory = ensure_converted(args.check)
    is_local = pathlib.Path(args.check).is_dir()
    beside = pathlib.Path(args.check).absolute() if is_local else pathlib.Path(directory.name)
    output = require_writable(args.output or beside.with_name(f"{beside.name}-check.png"))
    picture = pathlib.Path(args.picture) if args.picture else SCENE
    faults = check(directory, picture=picture, output=output)
    for fault in faults:
        print(f"error: {directory}: {fault}", file=sys.stderr)
    if not faults and family_of(read_config(directory)).purpose == "draw":
        _draw(directory, args.prompt, output.with_name(f"{output.stem}-drawn.png"))
    print(f"{directory}: {'not sound' if faults else 'sound'}")
    return BAD_INPUT if faults else DONE


def _draw(directory: "Directory", prompt: str | None, output: pathlib.Path) -> None:
    """Draw a picture with a base model, as the last proof that it is sound."""
    from jaxedit.editor.generator import Generator

    generator = Generator.from_pretrained(directory)
    if prompt is None:
        prompt = PROMPTS[family_of(generator.config).reads]
    result = generator.generate(prompt, seed=0)
    result.save(output)
    seconds = result.diagnostics["seconds"]
    print(f"{output}: drawn from {result.settings['prompt']!r} in {seconds:.1f} s")


def run() -> None:
    """Entry point of `jaxedit-convert`."""
    console.run(main)


if __name__ == "__main__":
    run()
