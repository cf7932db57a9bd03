"""Time of the text encoder for a text padded to 128 tokens, and to VAREdit's 512.

    python benchmarks/text_encoder.py --layers=4

The layers have T5-XL's sizes and random weights. Measured on one AMD EPYC core: 0.75 s of CPU for
128 tokens, 2.60 s for 512.
"""

import argparse
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import rng
from jaxedit.config import T5Config
from jaxedit.models.t5 import T5Encoder
from jaxedit.sampling.text_encoder import encode_text


def main() -> None:
    """Print the time of a text at both lengths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4, help="of T5-XL's 24")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    config = dataclasses.replace(T5Config(), layers=args.layers)
    ids = jnp.ones((1, 2), jnp.int32)
    init = jax.jit(lambda key: T5Encoder(config).init(key, ids, ids > 0)["params"])
    params = init(rng.key_for(0, "init"))
    for length in (128, 512):
        ids = np.ones((1, length), np.int32)
        seconds = []
        for _ in range(args.repeats + 1):
            start = time.process_time()
            jax.block_until_ready(encode_text(params, ids, ids > 0, config=config, dtype="float32"))
            seconds.append(time.process_time() - start)
        print(f"{args.layers} layers, {length} tokens: {min(seconds[1:]):.2f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
