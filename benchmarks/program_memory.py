"""The memory that compiled programs take, and that returns when a model drops them.

    python benchmarks/program_memory.py --count=50

A model keeps the programs of 16 combinations of compiled settings; with the next it drops them all.
Each combination here is another `mask_until` of ERec, with which a picture is edited. After each
drop the resident memory should be what it was after the first.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image
from serve import memory

from jaxedit.editor.pipeline import KEPT


def main(argv: Sequence[str]) -> int:
    """Print the resident memory after each combination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="toy-varedit")
    parser.add_argument("--count", type=int, default=50, help="combinations of settings")
    args = parser.parse_args(argv)
    from jaxedit import Editor

    editor = Editor.from_pretrained(args.model)
    image = Image.new("RGB", (editor.size, editor.size), "white")
    method = {"method": "varedit+erec", "passes": "one"}
    print(f"loaded: {memory(os.getpid()):.0f} MB")
    for i, end in enumerate(np.linspace(0.3, 0.9, args.count)):
        editor.edit(image, "make the ball blue", mask_until=float(end), **method)
        dropped = " (dropped all before)" if i and i % KEPT == 0 else ""
        print(f"{i + 1:>3} combinations: {memory(os.getpid()):.0f} MB{dropped}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
