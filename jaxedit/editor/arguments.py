"""The arguments of `python -m jaxedit`; nothing here imports jax."""

import argparse
from typing import Any

from jaxedit import __version__
from jaxedit.config import FITS, METHODS, OPTIONS, PretrainedConfig
from jaxedit.config.models import SampleConfig
from jaxedit.config.precision import DTYPES, T5_DTYPES
from jaxedit.config.tokens import ERecConfig, TokenSampleConfig
from jaxedit.console import Parser, words

TASKS = ("depth", "canny", "segmentation")

# The options of all methods: name, type, help.
SAMPLING = (
    ("guidance", float, "strength of the instruction, 1 = none; of editar also below 1"),
    ("temperature", float, "below 1 draws likelier bits or tokens"),
    ("top_p", float, "nucleus in (0, 1], 1 = off"),
    ("greedy", bool, "always take the likeliest bit or token"),
)
TOKENS = (
    ("top_k", int, "draw from the k likeliest tokens"),
    ("guidance_mode", str, "what the unguided row lacks: text, joint (text and image) or dual"),
    ("image_guidance", float, "strength of the source picture, of dual only"),
    ("guidance_until", int, "last token that is guided, -1 = all"),
)
EREC = (
    ("tau_js", float, "bits of JS divergence that seed the edit mask"),
    ("tau_low", float, "nats: background where the edit gives the source token less NLL"),
    ("tau_high", float, "nats: background where the reconstruction gives it more NLL"),
    ("dilation", int, "side of the neighbourhood that grows the mask, 1 = none"),
    ("use_nll_low", bool, "apply tau_low"),
    ("use_nll_high", bool, "apply tau_high"),
    ("recon_prompt", str, "instruction of the reconstruction path"),
    ("noise", str, "shared or independent Gumbel noise of the two paths"),
    ("gumbel_key", str, "row: noise from each row's seed; batch: one noise for all"),
    ("probabilities", str, "of JS and NLL: guided, cond or truncated"),
    ("recon_guidance", str, "unguided row of the reconstruction: own, shared or none"),
    ("direct_replacement", bool, "take the source token wherever JS < tau_replace"),
    ("tau_replace", float, "bits, of direct_replacement"),
    ("refine", bool, "restore the background; without it the raw edit"),
    ("pixel_align", bool, "add the tokenizer's residual outside the mask"),
    ("upsampling", str, "of the mask: nearest or bilinear"),
    ("clip_decoded", bool, "clip decoded pictures before the residual is added"),
    ("hard_paste", bool, "the source's own pixels outside the mask"),
)


def option_names(config: PretrainedConfig, method: str) -> list[str]:
    """The options that a method takes."""
    return [name for part in OPTIONS[method] for name in vars(getattr(config, part))]


def every_option() -> list[str]:
    """The options of all methods."""
    parts = (SampleConfig(), TokenSampleConfig(), ERecConfig())
    return list(dict.fromkeys(name for part in parts for name in vars(part)))


def make_parser(description: str) -> argparse.ArgumentParser:
    """All arguments of the command."""
    parser = Parser(
        prog="python -m jaxedit",
        usage="python -m jaxedit [options] [photo] [instruction]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    methods = ", ".join(method for names in METHODS.values() for method in names)
    add("photo", nargs="?", help="picture to edit, or the map of a --task")
    add(
        "instruction",
        nargs="?",
        type=words,
        help="what to change, in words; with --task a description",
    )
    add(
        "--model",
        help="bundled or official name, folder, gs://, org/name of the Hub (default toy-varedit)",
    )
    add("--method", help=f"{methods} (default: the first that fits the weights)")
    add("--task", choices=TASKS, help="make a picture from a map; canny takes a photo's edges")
    add(
        "--fit",
        choices=FITS,
        help="pad: edit the whole picture, on a white square; crop: its middle square "
        "(default: what came with the weights)",
    )
    add(
        "--keep_size",
        action="store_true",
        default=None,
        help="put a cropped square back into its picture; padded ones keep their size anyway",
    )
    add("--seed", type=int, help="0 to 2**31 - 1 (default 0); row i of a list has seed + i")
    add("--output", help="file (default edited.png), or folder of a list (default edits)")
    add(
        "--diagnostics", metavar="PNG", help="also write ERec's maps, mask and paths as one picture"
    )
    add("--strict", action="store_true", help="refuse an instruction too long to be read in full")
    add(
        "--batch",
        metavar="LIST",
        help="edit every row of a JSONL list that is not done yet; its paths are relative to it",
    )
    add("--overwrite", action="store_true", help="edit all rows of a list again")
    add("--from_png", metavar="PNG", help="make an edited picture again, bit for bit")
    add("--rows_per_device", type=int, default=1, help="pictures of a list edited at once")
    add("--dtype", choices=DTYPES, help="default float32 on a CPU, bfloat16 elsewhere")
    add(
        "--t5_dtype",
        choices=T5_DTYPES,
        help="of the text encoder (default float16, or float32 with --dtype=float32)",
    )
    add("--text_on_host", action="store_true", help="keep the text encoder on the host's CPU")
    add("--text_features", metavar="FILE", help="read instructions' features; add those it lacks")
    add("--dry_run", action="store_true", help="tell how much memory it takes, and edit nothing")
    add("--memory_gb", type=float, help="of another device than this one, for --dry_run")
    add(
        "--int8",
        type=lambda names: tuple(names.split(",")),
        metavar="NETWORKS",
        help="keep the large kernels of t5, transformer or t5,transformer as 8-bit integers",
    )
    add("--version", action="version", version=f"jaxedit {__version__}")
    for title, options in (
        ("sampling", SAMPLING),
        ("sampling of editar and editar+erec", TOKENS),
        ("ERec, of editar+erec", EREC),
    ):
        group = parser.add_argument_group(title, "default: what came with the weights")
        for name, kind, text in options:
            _add(group, name, kind, text)
    return parser


def _add(group: Any, name: str, kind: type, text: str) -> None:
    if kind is bool:
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)
    else:
        group.add_argument(f"--{name}", type=kind, help=text)
