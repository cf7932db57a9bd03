"""The cost of 16 bits and of 8-bit kernels against float32, as a Markdown table.

    python benchmarks/precision.py         # all four models below
    python benchmarks/precision.py --models=toy-varedit --pairs=200

Models: toy-varedit and toy-editar; random-varedit and random-editar, of random weights, 8 layers of
width 512 behind a text encoder of 6. Every variant edits the same held-out toybox pairs with the
same seeds. Columns: relative error of the text features and of the logits, and the share of bits or
tokens that are equal, all against float32: `forced` on the tokens that float32 chose, the likeliest
of each, and `free` as sampled. Success is judged by the toybox's exact checker, and says nothing of
random weights. Bytes are those of transformer and text encoder; the time is of the fastest edit.
"""

import argparse
import contextlib
import copy
import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from toy_ablation import table

import jaxedit
from jaxedit import EditResult, tree
from jaxedit.checkpoints.pretrained import abstract_params, save_pretrained
from jaxedit.config import EDITAR_PRESETS, PRESETS, DataConfig, PretrainedConfig
from jaxedit.config.precision import dtype_of
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import image, quantize
from jaxedit.ops.int8 import quantize_if_kernel
from jaxedit.sampling import sample_editar
from jaxedit.sampling.sample_varedit import source_tokens

MODELS = ("toy-varedit", "toy-editar", "random-varedit", "random-editar")
# dtype, t5_dtype (None: the default beside it), int8
VARIANTS: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "float32": ("float32", None, ()),
    "bfloat16, T5 float16 (default)": ("bfloat16", None, ()),
    "bfloat16, T5 bfloat16": ("bfloat16", "bfloat16", ()),
    "transformer alone bfloat16": ("bfloat16", "float32", ()),
    "T5 alone float16": ("float32", "float16", ()),
    "T5 alone bfloat16": ("float32", "bfloat16", ()),
    "int8 T5": ("float32", None, ("t5",)),
    "int8 transformer": ("float32", None, ("transformer",)),
    "int8 both, bfloat16": ("bfloat16", None, ("t5", "transformer")),
}


def main() -> None:
    """Measure every variant of every model and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), help="those above, or directories")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--level", type=int, default=0, choices=(0, 1, 2, 3))
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    args = parser.parse_args()
    pairs = held_out_pairs(DataConfig(level=args.level, seed=args.seed), args.pairs)
    for name in args.models.split(","):
        with directory_of(name) as directory:
            print(f"\n{name}, {args.pairs} pairs of level {args.level}:\n", flush=True)
            print(table(measure(directory, pairs)), flush=True)


def measure(directory: str, pairs: Sequence[Any]) -> list[dict[str, Any]]:
    """One row of the table for each variant of the model."""
    rows, exact, wanted = [], None, None
    for name, (dtype, t5_dtype, int8) in VARIANTS.items():
        options = {"dtype": dtype, "t5_dtype": t5_dtype, "int8": int8}
        editor = jaxedit.Editor.from_pretrained(directory, **options)
        edits = editor.edit_batch([p.source for p in pairs], [p.instruction for p in pairs])
        exact = exact or edits
        found = [forced(editor, p, edit) for p, edit in zip(pairs, exact, strict=True)]
        wanted = wanted or found
        features, logits, likeliest = zip(*found, strict=True)
        features32, logits32, likeliest32 = zip(*wanted, strict=True)
        judged = [
            toybox.check(np.asarray(edit.image), p).success
            for edit, p in zip(edits, pairs, strict=True)
        ]
        rows.append(
            {
                "weights": name,
                "features": error(features, features32),
                "logits": error(logits, logits32),
                "forced": f"{np.mean(np.equal(likeliest, likeliest32)):.5f}",
                "free": f"{equal(edits, exact):.5f}",
                "success": np.mean(judged),
                "bytes": bytes_of(editor.config, dtype, editor.t5_dtype, int8),
                "ms/edit": 1e3 * min(edit.diagnostics["seconds"] for edit in edits),
            }
        )
    return rows


def forced(editor: jaxedit.Editor, pair: Any, edit: EditResult) -> tuple[np.ndarray, ...]:
    """Return text features, logits and likeliest choices, given the tokens of another edit."""
    features, mask = editor.text([pair.instruction])
    of_model = _of_varedit if editor.config.model_type == "varedit" else _of_editar
    logits = of_model(editor, jnp.asarray(pair.source)[None], features, mask, edit.tokens)
    return features[mask], np.asarray(logits), np.argmax(logits, axis=-1)


def _of_varedit(editor: Any, pixels: Any, text: Any, mask: Any, bits: Any) -> jax.Array:
    """Logits f32[Lt,Q,2], all scales at once."""
    c, params = editor.config.varedit, editor.params
    bsq = BSQTokenizer(editor.config.bsq)
    raw = jax.jit(lambda p, x: bsq.apply({"params": p}, image.to_float(x), method="encode"))
    source = source_tokens(raw(params["bsq"], pixels), c)
    full = c.latent_scales[-1]
    feature, inputs = jnp.zeros((1, *full, c.bits)), []
    for k, size in enumerate(c.latent_scales[:-1]):
        feature = quantize.accumulate(feature, jnp.asarray(bits[k])[None], size, full, c.patchify)
        inputs.append(quantize.next_input(feature, c.latent_scales[k + 1], c.patchify))
    arrays = (text, mask, np.zeros(1, bool), source, jnp.concatenate(inputs, axis=1))
    return _varedit_logits(params["transformer"], *arrays, config=c, dtype=editor.dtype)[0]


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _varedit_logits(params: Any, *arrays: Any, config: Any, dtype: str) -> jax.Array:
    scales = {"scales": config.scales, "rope_scales": config.rope_scales}
    return VAREdit(config, dtype).apply({"params": params}, *arrays, **scales)


def _of_editar(editor: Any, pixels: Any, text: Any, mask: Any, tokens: Any) -> jax.Array:
    """Logits f32[N,V] by the loop that decodes, whose tokens are given."""
    config, networks = editor.config, editor.params
    prefix = sample_editar.read_source(networks, pixels, config=config).prefix
    options = {"rows": (0,), "config": config.editar}
    segment = sample_editar.segment_of(config.editar)
    state = sample_editar.begin(
        networks.weights, prefix, text[:, None], mask[:, None], slots=segment + 1, **options
    )
    policy = Given(jnp.asarray(tokens[0]).reshape(1, 1, -1))
    decode = {"config": config.editar, "segment": segment}
    return sample_editar.generate(networks.weights, prefix, state, policy, **decode)[1][0, :, 0]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Given:
    """A policy that takes given tokens i32[B,R,N] and records the logits."""

    tokens: jax.Array

    def __call__(self, logits: jax.Array, position: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the tokens at `position`, and the logits."""
        at = position[:, None, None]
        return jnp.take_along_axis(self.tokens, at, axis=2)[:, :, 0], logits


def error(found: Sequence[Any], exact: Sequence[Any]) -> str:
    """Return the distance from the exact numbers, relative to them."""
    found, exact = (np.concatenate([np.ravel(x) for x in part]) for part in (found, exact))
    return f"{np.linalg.norm(found - exact) / np.linalg.norm(exact):.1e}"


def equal(ours: Sequence[EditResult], theirs: Sequence[EditResult]) -> float:
    """Return the share of equal bits or tokens."""
    shares = [
        np.mean(np.concatenate([(x == y).ravel() for x, y in zip(a.tokens, b.tokens, strict=True)]))
        for a, b in zip(ours, theirs, strict=True)
    ]
    return float(np.mean(shares))


def bytes_of(config: PretrainedConfig, dtype: str, t5_dtype: str, int8: Sequence[str]) -> int:
    """Return the bytes of transformer and text encoder."""

    def place(path: str, leaf: Any) -> Any:
        leaf = leaf.astype(dtype_of(path, config.model_type, dtype, t5_dtype))
        return quantize_if_kernel(path, leaf) if path.split("/")[0] in int8 else leaf

    params = {name: abstract_params(config)[name] for name in ("t5", "transformer")}
    placed = jax.eval_shape(lambda params: tree.map_with_path(place, params), params)
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(placed))


@contextlib.contextmanager
def directory_of(name: str) -> Iterator[str]:
    """Yield a directory or bundled name; models of random weights are written for the time."""
    if not name.startswith("random-"):
        yield name
        return
    config = deep(name)
    generator = np.random.default_rng(0)
    params = tree.map_with_path(
        lambda path, leaf: random(generator, path, leaf.shape), abstract_params(config)
    )
    with tempfile.TemporaryDirectory() as folder:
        yield str(save_pretrained(pathlib.Path(folder) / name, config, params, "toy-tokenizer"))


def deep(name: str) -> PretrainedConfig:
    """Return the settings of a toy with 8 layers of width 512."""
    is_varedit = name == "random-varedit"
    config = copy.deepcopy((PRESETS if is_varedit else EDITAR_PRESETS)["tiny"])
    sizes = {"width": 512, "heads": 8, "mlp_hidden": 1536}
    config.t5 = dataclasses.replace(config.t5, layers=6, head_width=64, **sizes)
    sizes["text_width"] = 512
    if is_varedit:
        config.varedit = dataclasses.replace(config.varedit, depth=8, **sizes)
    else:
        config.editar = dataclasses.replace(config.editar, layers=8, **sizes)
    config.validate()
    return config


def random(generator: np.random.Generator, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return weights that keep the size of what goes through them; nothing is near zero."""
    if path.endswith("scale"):
        return np.ones(shape, np.float32)
    inputs = int(np.prod(shape[:-1] if len(shape) == 4 else shape[-2:-1]))
    std = inputs**-0.5 if "kernel" in path else 1.0 if path == "t5/embed" else 0.1
    if path.startswith("t5/") and path.endswith("attn/q/kernel"):
        std /= 8  # instead of a division by the root of the head's width
    return std * generator.standard_normal(shape, np.float32)


if __name__ == "__main__":
    main()
