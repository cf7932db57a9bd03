"""What 8-bit kernels cost: success, equal bits, bytes and time of a toy model, as a Markdown table.

    python benchmarks/int8.py --model=toy-varedit --pairs=200

Every variant edits the same held-out toybox pairs with the same seeds. Success is judged by the
toybox's exact checker. The integers multiply in `--dtype`; `equal f32` and `equal bf16` are shares
of the bits (EditAR: of the tokens) that are those of the float32 and of the bfloat16 run. Bytes are
those of transformer and text encoder; the time is that of the fastest edit.

Measured with toy-varedit, 100 pairs of level 0, on CPU:

| weights | success | bytes | ms/edit | equal f32 | equal bf16 |
|---|---|---|---|---|---|
| float32 | 0.930 | 7547104 | 31.4 | 1.00000 | 0.99955 |
| bfloat16 | 0.930 | 3773552 | 29.9 | 0.99955 | 1.00000 |
| int8 t5 | 0.930 | 7305952 | 24.2 | 0.99992 | 0.99959 |
| int8 transformer | 0.930 | 2868448 | 25.7 | 0.99976 | 0.99956 |
| int8 both | 0.930 | 2627296 | 25.0 | 0.99973 | 0.99957 |
"""

import argparse
from collections.abc import Sequence

import jax
import numpy as np
from toy_ablation import table

import jaxedit
from jaxedit import EditResult, tree
from jaxedit.config import DataConfig, PretrainedConfig
from jaxedit.convert.pretrained import abstract_params
from jaxedit.data import toy
from jaxedit.data.loader import held_out_pairs
from jaxedit.ops.int8 import compress


def main() -> None:
    """Evaluate every variant on the same pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="toy-varedit", help="bundled name or directory")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--level", type=int, default=0, choices=(0, 1, 2))
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    parser.add_argument("--dtype", default="float32", help="of the products with integers")
    args = parser.parse_args()

    pairs = held_out_pairs(DataConfig(level=args.level, seed=args.seed), args.pairs)
    variants = {
        "float32": ("float32", ()),
        "bfloat16": ("bfloat16", ()),
        "int8 t5": (args.dtype, ("t5",)),
        "int8 transformer": (args.dtype, ("transformer",)),
        "int8 both": (args.dtype, ("t5", "transformer")),
    }
    runs: dict[str, list[EditResult]] = {}
    rows = []
    for name, (dtype, int8) in variants.items():
        editor = jaxedit.Editor.from_pretrained(args.model, dtype=dtype, int8=int8)
        runs[name] = editor.edit_batch([p.source for p in pairs], [p.instruction for p in pairs])
        checks = [
            toy.check(np.asarray(r.image), p).success
            for r, p in zip(runs[name], pairs, strict=True)
        ]
        rows.append(
            {
                "weights": name,
                "success": np.mean(checks),
                "bytes": bytes_of(editor.config, dtype, int8),
                "ms/edit": 1e3 * min(r.diagnostics["seconds"] for r in runs[name]),
            }
        )
        print(rows[-1], flush=True)
    for row in rows:
        for column, other in (("equal f32", "float32"), ("equal bf16", "bfloat16")):
            row[column] = f"{equal(runs[row['weights']], runs[other]):.5f}"
    print(table(rows))


def bytes_of(config: PretrainedConfig, dtype: str, int8: Sequence[str]) -> int:
    """Bytes of transformer and text encoder."""

    def placed(params: tree.Tree) -> tree.Tree:
        params = tree.cast(params, dtype)
        return {n: tree.map_with_path(compress, x) if n in int8 else x for n, x in params.items()}

    params = {name: abstract_params(config)[name] for name in ("t5", "transformer")}
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(placed, params)))


def equal(ours: Sequence[EditResult], theirs: Sequence[EditResult]) -> float:
    """Share of equal bits or tokens."""
    shares = [
        np.mean(np.concatenate([(x == y).ravel() for x, y in zip(a.tokens, b.tokens, strict=True)]))
        for a, b in zip(ours, theirs, strict=True)
    ]
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
