"""The command that converts released weights, exports them again, checks models, publishes them.

    python -m jaxedit.convert --src=varedit-2b-512 --dst=models/varedit-2b-512
    python -m jaxedit.convert --src=2B-512.pth --src=infinity_vae_d32reg.pth --src=flan-t5-xl/ \\
        --settings=varedit-2b-512 --dst=models/varedit-2b-512
    python -m jaxedit.convert --check models/varedit-2b-512
    python -m jaxedit.convert --export=torch --src=models/varedit-2b-512 --dst=original
    python -m jaxedit.convert --src=runs/finetune-toy/export --push_to_hub=me/my-editor

An editor consists of three networks, transformer, image tokenizer and text encoder: give each its
own --src, or one official name for all three (--list). A single network becomes a directory of its
own. The kind and the sizes of a network are read from the shapes in its file. No file holds the
schedule, the rotary positions and the settings of sampling: they come from --settings or, where
only one release fits, from that release. Exit codes: 0 done, or sound; 2 bad input, or not sound.
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

PROMPTS = {"text": "a photo of a cat", "class": "0"}  # by `Family.reads`, for --check
DTYPES = {"bf16": "bfloat16", "f32": "float32", "f16": "float16"}


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    return exit_code(lambda: _run(make_parser().parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    if args.list:
        print("\n".join(releases()))
        return DONE
    if args.check:
        return _check(args)
    require(bool(args.src), "--src is missing: expected the weights to convert (--help)")
    require(args.push_to_hub or not args.private, "--private: expected --push_to_hub beside it")
    if args.push_to_hub:
        return _publish(args)
    require(bool(args.dst), "--dst is missing: expected the directory to write")
    return _export(args) if args.export else _convert(args)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
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
        "org/name/file on the Hub, or a converted model; repeat it for the parts of an editor",
    )
    add("--dst", metavar="DIR", help="directory to write, local or gs://")
    add(
        "--dtype",
        choices=(*DTYPES, *DTYPES.values()),
        help="dtype of the weights (default bf16: each gets the dtype in which it runs on an "
        "accelerator; with --export: unchanged)",
    )
    add(
        "--kind",
        default="auto",
        help=f"network that every --src must hold: {', '.join(BY_TYPE)} (default auto)",
    )
    add(
        "--settings",
        metavar="NAME",
        help="official name, or converted model, with the settings of inference",
    )
    add("--tokenizer", metavar="DIR", help="text tokenizer (default: beside the text encoder)")
    add(
        "--ema",
        action="store_true",
        help="take the moving average of a training run's weights, in each --src that has one",
    )
    add("--overwrite", action="store_true", help="replace another model that lies at --dst")
    add("--export", choices=("torch",), help="write a converted model under the original names")
    add(
        "--push_to_hub",
        metavar="ORG/NAME",
        help="publish the model on the Hugging Face Hub: what --dst becomes or, without --dst, "
        "the directory --src",
    )
    add("--private", action="store_true", help="with --push_to_hub: a new repository is private")
    add("--list", action="store_true", help="list the official names with files and licences")
    _add_check(parser)
    return parser


def _add_check(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `--check`."""
    check = parser.add_argument_group("check")
    check.add_argument(
        "--check", metavar="DIR", help="check a converted model, and say whether it is sound"
    )
    check.add_argument(
        "--picture", metavar="FILE", help="picture for the image tokenizer (default: toys)"
    )
    check.add_argument("--prompt", help="prompt for a base model (default: a cat, or class 0)")
    check.add_argument(
        "--output", metavar="PNG", help="picture and reconstruction (default DIR-check.png)"
    )


def releases() -> list[str]:
    """List the official names with their files and licences, in lines."""
    lines = []
    for name, release in OFFICIAL.items():
        lines.append(f"{name}{f' ({release.about})' if release.about else ''}")
        lines += [f"    {s.kind:<9} {s.place} (licence: {s.licence})" for s in release.sources]
    return lines


def _convert(args: argparse.Namespace) -> int:
    from jaxedit.convert.convert import ConversionConfig, convert

    conversion = ConversionConfig(
        src=tuple(args.src),
        dst=args.dst,
        dtype=DTYPES.get(args.dtype, args.dtype or "bfloat16"),
        kind=args.kind,
        settings=args.settings or "",
        tokenizer=args.tokenizer or "",
        ema=args.ema,
        overwrite=args.overwrite,
    )
    convert(conversion)
    return DONE


def _export(args: argparse.Namespace) -> int:
    from jaxedit.convert.export import export

    require(len(args.src) == 1, f"--src={args.src}: expected one converted model to export")
    export(args.src[0], args.dst, DTYPES.get(args.dtype, args.dtype))
    return DONE


def _publish(args: argparse.Namespace) -> int:
    from jaxedit.checkpoints.publish import push_to_hub, require_repo

    require_repo(args.push_to_hub)
    require(not args.export, "--push_to_hub: expected no --export beside it: a model of jaxedit")
    if args.dst:
        _convert(args)
    else:
        require(len(args.src) == 1, f"--src={args.src}: expected one model to publish, or a --dst")
    address = push_to_hub(args.dst or args.src[0], args.push_to_hub, private=args.private)
    print(f"{address}: use it by --model={args.push_to_hub}")
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
    """Draw a picture with a base model, as the last check."""
    from jaxedit.editor.generator import Generator

    generator = Generator.from_pretrained(directory)
    if prompt is None:
        prompt = PROMPTS[family_of(generator.config).reads]
    result = generator.generate(prompt, seed=0)
    result.save(output)
    seconds = result.diagnostics["seconds"]
    print(f"{output}: drawn from {result.settings['prompt']!r} in {seconds:.1f} s")


def run() -> None:
    """Run the command `jaxedit convert`."""
    console.run(main)


if __name__ == "__main__":
    run()
