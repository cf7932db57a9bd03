"""Encode the pictures of stores once, so that training of EditAR and LlamaGen reads their codes.

    python -m jaxedit.datasets.encode --store=stores/pipe --tokenizer=pretrained/llamagen-t2i-xl-512

The codes of source and target of every row, and of the edges of targets where the rows are maps,
are added to the store's folder codes-NAME, as the model sees the pictures: squares of --image_size
pixels. Training uses codes whose tokenizer, size and crop are its own, and compares one row in a
thousand with the tokenizer. Drop lists may change later: dropped rows have codes too. A stopped run
goes on with the same command; of several processes each does a part with --shard=I/N.
Exit codes: 0 done; 2 bad input.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxedit import console
from jaxedit.config import ConfigError, PretrainedConfig, family_of, require, sizes_of
from jaxedit.console import DONE, Parser, exit_code
from jaxedit.engines.options import add_shard

_SIZE = 512  # of EditAR's pictures


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code(
        lambda: _run(make_parser().parse_args(argv)),
        stopped="stopped: run the same command to continue",
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments of the command."""
    parser = Parser(
        prog="python -m jaxedit.datasets.encode",
        usage="python -m jaxedit.datasets.encode --store=DIR --tokenizer=WEIGHTS [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    several = {"action": "append", "required": True, "type": pathlib.Path, "metavar": "DIR"}
    add = parser.add_argument
    add("--store", **several, help="store to add codes to; may be given again")
    about = "name or directory of weights with a VQ tokenizer"
    add("--tokenizer", required=True, metavar="WEIGHTS", help=about)
    about = f"pixels of the squares (default: of the model in WEIGHTS, or {_SIZE})"
    add("--image_size", type=int, metavar="N", help=about)
    about = "how pictures become squares (default crop)"
    add("--fit", choices=("crop", "pad"), default="crop", help=about)
    about = "model by whose rule pictures are resized before the crop (default editar)"
    add("--crop", choices=("editar", "llamagen", "varedit"), default="editar", help=about)
    about = "of the encoder's products, as the training setting label_precision (default highest)"
    add("--precision", choices=("highest", "high"), default="highest", help=about)
    about = "rows encoded at a time on each device (default 8)"
    add("--batch_size", type=int, default=8, metavar="N", help=about)
    about = "that read and decode pictures (default: as many as cores)"
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help=about)
    add_shard(parser)
    return parser


def _run(args: argparse.Namespace) -> int:
    from jaxedit import compile_cache
    from jaxedit.data.store import Store
    from jaxedit.data.stored_codes import Encoding
    from jaxedit.data.transforms import Fit
    from jaxedit.datasets.encode.encode_store import encode_store
    from jaxedit.datasets.encode.picture_encoder import PictureEncoder
    from jaxedit.models.vq import VQTokenizer

    for name in ("batch_size", "threads"):
        require(getattr(args, name) > 0, f"--{name}={getattr(args, name)}: expected 1 or more")
    stores = [Store(place, keeps_dropped=True) for place in args.store]
    config, params = _open_tokenizer(args.tokenizer)
    compile_cache.enable()
    fit, size = Fit(args.fit, args.crop), _image_size(args.image_size, config)
    encoding = Encoding.of(config.vq, params, size, fit)
    tokenizer = VQTokenizer(config.vq, precision=args.precision)
    encoder = PictureEncoder(tokenizer, params, args.batch_size)
    for store in stores:
        codes = encode_store(store, encoding, encoder, fit, threads=args.threads, shard=args.shard)
        what = f"shard {args.shard} of {codes.rows} rows" if args.shard else f"{codes.rows} rows"
        print(f"{codes.directory}: codes of {what} are there")
    return DONE


def _open_tokenizer(name: str) -> tuple[PretrainedConfig, Any]:
    """Return the settings of weights and the parameters of their tokenizer, f32.

    Raises:
      ConfigError: the weights hold no VQ tokenizer.
      OSError: weights are missing.
    """
    from jaxedit import tree
    from jaxedit.checkpoints.pretrained import open_params, read_config
    from jaxedit.convert.ensure_converted import ensure_converted

    directory = ensure_converted(name)
    config = read_config(directory)
    if "vq" not in family_of(config).networks:
        reason = "expected a VQ tokenizer"
        if "bsq" in family_of(config).networks:
            reason += "; VAREdit's bits are drawn anew in every step, so that none can be stored"
        raise ConfigError(f"--tokenizer={name}: a {config.model_type} model: {reason}")
    _, params, _ = open_params(directory, ["vq"])
    return config, tree.cast(params["vq"], "float32")


def _image_size(given: int | None, config: PretrainedConfig) -> int:
    """Return the size of the squares.

    Raises:
      ConfigError: the tokenizer cannot encode squares of the size that is given.
    """
    stride = config.vq.stride
    grid = getattr(sizes_of(config), "grid", None)  # a tokenizer alone has none
    size = given if given is not None else grid * stride if grid else _SIZE
    require(
        size > 0 and size % stride == 0,
        f"--image_size={size}: expected a multiple of the tokenizer's stride of {stride} pixels",
    )
    return size


if __name__ == "__main__":
    console.run(main)
