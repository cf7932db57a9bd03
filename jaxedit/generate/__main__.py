"""Draw pictures from texts, or from classes, with the base models.

    python -m jaxedit.generate --model=infinity-2b "a cat" --seed 1 --output generated.png
    python -m jaxedit.generate --model=llamagen-c2i-b-256 207
    python -m jaxedit.generate --model=infinity-2b --batch list.jsonl --output generated/
    python -m jaxedit.generate --from_png generated.png
    python -m jaxedit.generate --model=infinity-8b-1024 --dry_run --memory_gb 40

A list has one JSON object per line: {"prompt": ...}, perhaps with "seed" and "output". Each picture
written carries its settings; --from_png makes it again from them. --dry_run prints what would be in
the memory of each device; an official name needs no weights then.
Exit codes: 0 done; 1 a replayed picture came out differently, a dry run does not fit; 2 bad input.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from jaxedit import console
from jaxedit.config import methods_of, require, require_int8, require_seed
from jaxedit.console import DONE, exit_code, words
from jaxedit.editor import dry_run, preparation, replay
from jaxedit.editor.arguments import MODEL, add_shared, new_parser
from jaxedit.editor.batch_generate import generate_list
from jaxedit.progress import follow, progress_bar

EXAMPLES = "infinity-2b, llamagen-t2i-xl-512, llamagen-c2i-b-256"


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: _run(make_parser().parse_args(argv)))


def make_parser() -> argparse.ArgumentParser:
    """All arguments of the command."""
    parser = new_parser("python -m jaxedit.generate", "[prompt]", __doc__)
    add = parser.add_argument
    add("prompt", nargs="?", type=words, help="what to draw, in words, or the number of a class")
    add("--model", help=f"{MODEL}, such as {EXAMPLES}")
    methods = methods_of("draw")
    add_shared(
        parser, verb="draw", done="generated", folder="generated", words="prompt", methods=methods
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    require_int8(args.int8 or ())
    require(not (args.batch and args.from_png), "--batch and --from_png: expected one of them")
    if args.dry_run:
        dry_run.check(args)
    if args.from_png:
        return replay_picture(args)
    require(args.model is not None, f"--model is missing: expected one that draws ({EXAMPLES})")
    is_complete = args.prompt is not None or args.batch or args.dry_run
    require(bool(is_complete), "expected a prompt (--help lists all options)")
    require(
        args.prompt is None or not args.batch,
        f"--batch: expected no prompt beside it, found {args.prompt!r}",
    )
    config, options = preparation.checked(args.model, args, "draw")
    if args.dry_run:
        return dry_run.show(args, args.model, config, options)
    if args.batch:
        return generate_list(args, args.model, options)
    return draw_picture(args, options)


def draw_picture(args: argparse.Namespace, options: dict[str, Any]) -> int:
    """One prompt, one picture."""
    from jaxedit.editor import provenance

    seed = args.seed or 0
    require_seed(seed)
    output = provenance.require_writable(args.output or "generated.png")
    generator = preparation.load_generator(args.model, **preparation.placement(args))
    generator.check_prompt(args.prompt, strict=args.strict)
    preparation.compile(generator, options)
    with progress_bar("steps") as bar:
        result = generator.generate(
            args.prompt,
            seed=seed,
            strict=args.strict,
            progress=follow(bar),
            **options,
        )
    result.save(output)
    print(f"{output}: generated in {result.diagnostics['seconds']:.2f} s")
    return DONE


def replay_picture(args: argparse.Namespace) -> int:
    """A generated picture again, from the settings in it."""
    from jaxedit.editor import provenance
    from jaxedit.editor.generator import Generator

    earlier, settings, output = replay.read(args, ("prompt",), provenance.DRAWN)
    generator, options = replay.load(Generator, args, settings)
    result = generator.generate(settings["prompt"], seed=settings["seed"], **options)
    again = result.save(output)
    return replay.compare(result.image, output, earlier, settings, again)


def run() -> None:
    """Entry point of `jaxedit-generate`."""
    console.run(main)


if __name__ == "__main__":
    run()
