import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import Editor, tree
from jaxedit.checkpoints.pretrained import abstract_params, load_pretrained, save_pretrained
from jaxedit.config import EDITAR_PRESETS, PRESETS, ConfigError
from jaxedit.config.precision import dtype_of, t5_dtype_for
from jaxedit.models.editar import EditAR, Null
from jaxedit.models.varedit import VAREdit

# Network and first name below it, of all that is float32 in a VAREdit of bfloat16.
WIDE = {"bsq/decoder", "bsq/encoder"} | {
    f"transformer/{name}"
    for name in ("ada", "head", "head_ada", "level_embed", "pos_start", "text", "word_embed")
}


def groups(paths):
    return {"/".join(path.split("/")[:2]) for path in paths}


def of_dtype(params, dtype):
    return {path for path, leaf in tree.flatten(params).items() if leaf.dtype == dtype}


@pytest.mark.parametrize("size", ["tiny", "2b", "8b"])
def test_only_blocks_of_varedit_are_bfloat16(size):
    paths = tree.flatten(abstract_params(PRESETS[size]))
    kinds = {path: dtype_of(path, "varedit", "bfloat16") for path in paths}
    assert groups(p for p, kind in kinds.items() if kind == "float32") == WIDE
    blocks = {p for p, kind in kinds.items() if kind == "bfloat16"}
    assert groups(blocks) == {"transformer/first_block", "transformer/blocks"}
    assert {p.split("/")[0] for p, kind in kinds.items() if kind == "float16"} == {"t5"}


@pytest.mark.parametrize(
    ("path", "model", "options", "expected"),
    [
        ("transformer/blocks/ada_bias", "varedit", {}, "bfloat16"),  # blocks whole, with norms
        ("transformer/first_block/cross_norm/scale", "varedit", {}, "bfloat16"),
        ("transformer/text/pool/kv/kernel", "varedit", {}, "float32"),
        ("transformer/head/kernel", "editar", {}, "bfloat16"),
        ("transformer/embed", "editar", {}, "bfloat16"),
        ("null/image", "editar", {}, "float32"),
        ("vq/codebook", "editar", {}, "float32"),
        ("t5/embed", "editar", {}, "float16"),
        ("t5/blocks/mlp/down/kernel", "varedit", {}, "float16"),
        ("t5/embed", "varedit", {"t5_dtype": "bfloat16"}, "bfloat16"),
        ("t5/embed", "t5", {}, "float16"),
        ("vit/blocks/attn/q/kernel", "vit", {}, "float32"),
        ("clip/image/patch/kernel", "clip", {}, "float32"),
        ("bsq/encoder/conv_in/kernel", "bsq", {}, "float32"),
    ],
)
def test_one_path_after_another(path, model, options, expected):
    assert dtype_of(path, model, "bfloat16", **options) == expected
    if not options:
        assert dtype_of(path, model, "float32") == "float32"


def test_the_text_encoder_follows_the_transformer():
    assert (t5_dtype_for("bfloat16"), t5_dtype_for("float32")) == ("float16", "float32")


def test_an_editor_holds_varedit_so(tiny_model):
    editor = Editor.from_pretrained(tiny_model, dtype="bfloat16")
    assert (editor.dtype, editor.t5_dtype) == ("bfloat16", "float16")
    assert groups(of_dtype(editor.params, jnp.float32)) == WIDE
    blocks = of_dtype(editor.params, jnp.bfloat16)
    assert groups(blocks) == {"transformer/first_block", "transformer/blocks"}
    assert editor.text([""])[0].dtype == np.float32


def test_an_editor_holds_editar_so(tiny_editar):
    weights = Editor.from_pretrained(tiny_editar, dtype="bfloat16").params.weights
    layer = weights.layers[0]
    kernels = layer["attn"]["qkv"]["kernel"], layer["mlp"]["down"]["kernel"]
    narrow = (weights.embed, weights.head, weights.condition, *kernels)
    assert {x.dtype for x in jax.tree.leaves(narrow)} == {jnp.dtype(jnp.bfloat16)}
    wide = (weights.norm, weights.null.text, weights.null.image, layer["attn_norm"]["scale"])
    assert {x.dtype for x in wide} == {jnp.dtype(jnp.float32)}


def test_unknown_dtypes_are_named(tiny_model):
    with pytest.raises(ConfigError, match="dtype='float16': expected one of float32, bfloat16$"):
        Editor.from_pretrained(tiny_model, dtype="float16")
    with pytest.raises(ConfigError, match="t5_dtype='int8': .* float32, bfloat16, float16$"):
        Editor.from_pretrained(tiny_model, t5_dtype="int8")


def test_files_of_bfloat16_lose_nothing_that_runs_in_float32(tiny_model, tmp_path):
    config, params, _ = load_pretrained(tiny_model)
    half = save_pretrained(tmp_path / "half", config, params, tiny_model, dtype="bfloat16")
    _, found, _ = load_pretrained(half)
    assert groups(of_dtype(found, np.float32)) == WIDE
    exact, found = tree.flatten(params), tree.flatten(found)
    for path, leaf in exact.items():
        bound = {"float32": 0, "float16": 2**-10, "bfloat16": 2**-8}[found[path].dtype.name]
        np.testing.assert_allclose(found[path].astype(np.float32), leaf, rtol=bound, atol=1e-7)
    one, other = (Editor.from_pretrained(d, dtype="bfloat16") for d in (tiny_model, half))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_products_outside_of_blocks_are_exact_float32():
    """Read the precision from the program, because only accelerators would round float32."""
    config = PRESETS["tiny"].varedit
    text, mask = jnp.ones((1, 2, config.text_width)), jnp.ones((1, 2), bool)
    source, target = (jnp.ones((1, n, config.token_bits)) for n in (4, 4))
    inputs = (text, mask, jnp.zeros(1, bool), source, target)
    scales = {"scales": ((1, 1), (2, 2)), "rope_scales": config.rope_scales}
    params = abstract_params(PRESETS["tiny"])["transformer"]
    model = VAREdit(config, "bfloat16")
    with jax.default_matmul_precision("default"):
        lowered = jax.jit(lambda p: model.apply({"params": p}, *inputs, **scales)).lower(params)
    assert lowered.out_info.dtype == jnp.float32
    products = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
    exact = [line for line in products if "HIGHEST" in line]
    assert all("bf16" not in line for line in exact)
    assert all("bf16" in line for line in products if line not in exact)
    # ada, head's ada, head; embeddings of source and target; 2 of the text; 4 of its pooling; the
    # source's keys and values, averaged, in 2 products each; the queries' bias, turned, in 2 blocks
    assert len(exact) == 3 + 2 + 2 + 4 + 4 + 2


def test_logits_of_editar_are_float32():
    config = EDITAR_PRESETS["tiny"].editar
    params = abstract_params(EDITAR_PRESETS["tiny"])["transformer"]
    text = jnp.ones((1, config.text_tokens, config.text_width))
    codes = jnp.zeros((1, config.image_tokens), jnp.int32)

    def logits(params):
        model = EditAR(config, "bfloat16")
        return model.apply({"params": params}, text, codes, null=Null(), source=codes).logits

    assert jax.eval_shape(logits, params).dtype == jnp.float32
