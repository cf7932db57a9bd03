import dataclasses
import gzip
import json
import math
import pathlib

import pytest
from both_ways import blank

from jaxedit.checkpoints.pretrained import param_shapes
from jaxedit.config import (
    EDITAR_PRESETS,
    LLAMAGEN_SIZES,
    PRESETS,
    CLIPConfig,
    EditARConfig,
    InceptionConfig,
    LPIPSConfig,
    T5Config,
    TowerConfig,
    ViTConfig,
    VQConfig,
    llamagen,
)
from jaxedit.convert.detect import KINDS, Found, detect, keymap_module
from jaxedit.convert.keymaps.keymap import to_torch

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
# Parameters of LlamaGen's sizes, for classes and for texts.
PUBLISHED = json.loads((GOLDEN / "llamagen_counts.json").read_text())
B32 = CLIPConfig(
    image=TowerConfig(layers=12, width=768, heads=12, mlp_hidden=3072),
    text=TowerConfig(layers=12, width=512, heads=8, mlp_hidden=2048),
    patch=32,
    grid=7,
    projection_width=512,
)
TINY, TINY_EDITAR = PRESETS["tiny"], EDITAR_PRESETS["tiny"]


def read(name):
    content = (GOLDEN / name).read_bytes()
    return json.loads(gzip.decompress(content) if name.endswith(".gz") else content)


def as_tuples(shapes):
    return {key: tuple(shape) for key, shape in shapes.items()}


def gpt(size, *, is_class=False, groups=0):
    """Shapes of a LlamaGen in the released names."""
    layers, width, heads, hidden = LLAMAGEN_SIZES[size]
    rows = width + 2 * (groups or heads) * width // heads
    shapes = {
        "tok_embeddings.weight": (16384, width),
        "output.weight": (16384, width),
        "norm.weight": (width,),
    }
    if is_class:
        shapes |= {"cls_embedding.embedding_table.weight": (1001, width)}
    else:
        shapes |= {
            "cls_embedding.uncond_embedding": (120, 2048),
            "cls_embedding.cap_proj.fc1.weight": (width, 2048),
            "cls_embedding.cap_proj.fc2.weight": (width, width),
        }
    for n in range(layers):
        shapes |= {
            f"layers.{n}.attention.wqkv.weight": (rows, width),
            f"layers.{n}.attention.wo.weight": (width, width),
            f"layers.{n}.feed_forward.w1.weight": (hidden, width),
            f"layers.{n}.feed_forward.w3.weight": (hidden, width),
            f"layers.{n}.feed_forward.w2.weight": (width, hidden),
            f"layers.{n}.attention_norm.weight": (width,),
            f"layers.{n}.ffn_norm.weight": (width,),
        }
    return shapes


def dino(layers, width, patch, grid):
    """Shapes of a DINO in the names of its own files."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid**2, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    maps = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for n in range(layers):
        for name, (out, inner) in maps.items():
            shapes[f"blocks.{n}.{name}.weight"] = (out * width, inner * width)
            shapes[f"blocks.{n}.{name}.bias"] = (out * width,)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[f"blocks.{n}.{name}"] = (width,)
    return shapes


def own(kind, config):
    """Shapes of a network of ours under the published names."""
    whole = TINY_EDITAR if kind == "editar" else TINY
    whole = dataclasses.replace(whole, model_type=kind, **{kind: config})
    shapes = {
        path.removeprefix(KINDS[kind].prefix): shape
        for path, shape in param_shapes(whole).items()
        if path.split("/")[0] in KINDS[kind].networks
    }
    state = to_torch(keymap_module(kind).KEYMAP, blank(shapes))
    return {key: view.shape for key, view in state.items()}


def hugging_face_t5(config):
    """Shapes of a T5 encoder in the released names."""
    inner, width, hidden = config.heads * config.head_width, config.width, config.mlp_hidden
    first = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    shapes = {
        "shared.weight": (config.vocab_size, width),
        first: (config.position_buckets, config.heads),
        "encoder.final_layer_norm.weight": (width,),
    }
    for n in range(config.layers):
        block = f"encoder.block.{n}.layer"
        shapes |= {f"{block}.0.SelfAttention.{name}.weight": (inner, width) for name in "qkv"}
        shapes |= {
            f"{block}.0.SelfAttention.o.weight": (width, inner),
            f"{block}.0.layer_norm.weight": (width,),
            f"{block}.1.DenseReluDense.wi_0.weight": (hidden, width),
            f"{block}.1.DenseReluDense.wi_1.weight": (hidden, width),
            f"{block}.1.DenseReluDense.wo.weight": (width, hidden),
            f"{block}.1.layer_norm.weight": (width,),
        }
    return shapes


@pytest.mark.parametrize("name", ["2b", "8b"])
def test_published_varedit(name):
    shapes = read("varedit_transformer_state_dict.json.gz")[name]["shapes"]
    assert detect(as_tuples(shapes)) == Found("varedit", PRESETS[name].varedit)


@pytest.mark.parametrize(
    "name, config",
    [("editar", EditARConfig()), ("llamagen", llamagen("xl"))],
)
def test_published_editar(name, config):
    shapes = as_tuples(read(f"{name}_state_dict.json"))
    assert detect(shapes) == Found("editar", config)
    shapes.pop("alignment.weight", None)
    if shapes.pop("alignment.bias", None):  # fine-tuned without the teacher
        assert detect(shapes).config == dataclasses.replace(config, distill_width=0)


def test_published_tokenizers():
    assert detect(as_tuples(read("vq16_state_dict.json"))) == Found("vq", VQConfig())
    models = read("bsq_tokenizer_state_dict.json")
    for name, model in (("2b", "d32_f16 (2B)"), ("8b", "d14_f8_patchify (8B)")):
        shapes = as_tuples(models[model]["keys"])
        assert detect(shapes) == Found("bsq", PRESETS[name].bsq)
        bare = {key.replace(".conv.w", ".w").replace(".norm.", "."): s for key, s in shapes.items()}
        assert detect(bare) == Found("bsq", PRESETS[name].bsq)


@pytest.mark.parametrize("size", PUBLISHED)
def test_sizes_of_llamagen(size):
    for is_class, count in zip((True, False), PUBLISHED[size], strict=True):
        shapes = gpt(size, is_class=is_class)
        constants = "cls_embedding.uncond_embedding"
        assert sum(math.prod(s) for key, s in shapes.items() if key != constants) == count
        config = llamagen(size, prefix="class" if is_class else "text")
        assert detect(shapes) == Found("editar", config)
    few = detect(gpt(size, groups=4 if size != "3b" else 8)).config
    assert few == dataclasses.replace(config, kv_heads=4 if size != "3b" else 8)


def test_a_run_tells_its_grid():
    shapes = gpt("b", is_class=True)
    assert detect(shapes, {"image_size": 384, "downsample_size": 16}).config.grid == 24
    with pytest.raises(ValueError, match="image_size='384' in the file's settings: expected int"):
        detect(shapes, {"image_size": "384"})


@pytest.mark.parametrize(
    "config",
    [
        T5Config(),
        T5Config(width=512, head_width=64, mlp_hidden=1024, layers=8, heads=6),  # flan-t5-small
    ],
)
def test_text_encoders(config):
    shapes = hugging_face_t5(config)
    assert detect(shapes) == Found("t5", config)
    whole = shapes | {"decoder.block.0.layer.0.layer_norm.weight": (2,), "lm_head.weight": (2, 2)}
    assert detect(whole).config == config
    shapes["encoder.embed_tokens.weight"] = shapes.pop("shared.weight")
    told = {"relative_attention_max_distance": 64, "layer_norm_epsilon": 1e-5}
    expected = dataclasses.replace(config, position_max_distance=64, norm_eps=1e-5)
    assert detect(shapes, told).config == expected
    with pytest.raises(ValueError, match="feed_forward_proj='gated-silu': expected 'gated-gelu'"):
        detect(shapes, {"feed_forward_proj": "gated-silu"})


@pytest.mark.parametrize("width, heads", [(384, 6), (768, 12), (1024, 16)])
def test_dino(width, heads):
    config = ViTConfig(
        width=width,
        heads=heads,
        mlp_hidden=4 * width,
        patch=8,
        grid=28,
        layer_scale=False,
        position_offset=0.1,
    )
    assert detect(dino(12, width, 8, 28)) == Found("vit", config)


def test_dinov2():
    config = ViTConfig()
    shapes = own("vit", config)
    assert detect(shapes | {"embeddings.mask_token": (1, 768)}) == Found("vit", config)
    original = {
        f"blocks.{n}.ls{i}.gamma": (768,) for n in range(config.layers) for i in (1, 2)
    } | dino(12, 768, 14, 37)
    assert detect(original) == Found("vit", config)
    told = {"model_type": "dinov2", "num_attention_heads": 4, "layer_norm_eps": 1e-5}
    changed = dataclasses.replace(config, heads=4, norm_eps=1e-5)
    assert detect(shapes, told).config == changed


@pytest.mark.parametrize("config", [CLIPConfig(), B32])
def test_clip(config):
    shapes = own("clip", config)
    assert shapes["text_model.embeddings.position_embedding.weight"][0] == 77
    assert detect(shapes) == Found("clip", config)
    told = {
        "text_config": {"eos_token_id": 49407, "hidden_act": "gelu"},
        "vision_config": {"num_attention_heads": 8, "layer_norm_eps": 1e-6},
    }
    expected = dataclasses.replace(
        config,
        eos_id=49407,
        image=dataclasses.replace(config.image, heads=8, norm_eps=1e-6),
        text=dataclasses.replace(config.text, activation="gelu"),
    )
    assert detect(shapes, told).config == expected


@pytest.mark.parametrize(
    "kind, config, untold",
    [
        ("varedit", TINY.varedit, ("rope_mode", "scales", "drop_path")),
        ("editar", TINY_EDITAR.editar, ("prompts", "rope_base", "dropout", "token_dropout")),
        ("bsq", TINY.bsq, ()),
        ("vq", TINY_EDITAR.vq, ()),
        ("vq", VQConfig(channel_mult=(1, 2, 2, 4)), ()),  # VQ-8
        ("t5", TINY.t5, ()),
    ],
)
def test_our_own_models(kind, config, untold):
    released = {name: getattr(type(config)(), name) for name in untold}
    assert detect(own(kind, config)) == Found(kind, dataclasses.replace(config, **released))


@pytest.mark.parametrize("backbone", ["vgg", "squeeze"])
def test_each_file_of_lpips(backbone):
    config = LPIPSConfig(backbone=backbone)
    shapes = own("lpips", config)
    halves = [{k: s for k, s in shapes.items() if k.startswith(n)} for n in ("features", "lin")]
    halves[0]["classifier.1.weight"] = (1000, 512, 1, 1)
    for found in (shapes, *halves):
        assert detect(found) == Found("lpips", config)


def test_inception():
    shapes = own("inception", InceptionConfig())
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_6b.branch7x7dbl_5.conv.weight"] == (192, 128, 1, 7)
    assert shapes["Mixed_7a.branch7x7x3_4.bn.running_var"] == (192,)
    beside = {"fc.bias": (1008,), "Mixed_7a.branch3x3_1.bn.num_batches_tracked": ()}
    assert detect(shapes | beside) == Found("inception", InceptionConfig())


def test_other_tokenizers_of_infinity():
    config = dataclasses.replace(TINY.varedit, bits=10, patchify=True)
    shapes = own("varedit", config)
    with pytest.raises(ValueError, match='whether tokens of 40 bits .*"apply_spatial_patchify"'):
        detect(shapes)
    for patchify, bits in ((1, 10), (False, 40)):
        found = detect(shapes, {"apply_spatial_patchify": patchify}).config
        assert (found.bits, found.patchify) == (bits, bool(patchify))


def test_what_is_no_network_of_ours():
    message = "not a checkpoint that jaxedit knows: keys begin with conv1, fc, layer1"
    with pytest.raises(ValueError, match=message):
        detect({"conv1.weight": (2, 2), "layer1.0.weight": (2,), "fc.bias": (2,)})
    with pytest.raises(ValueError, match="keys begin with nothing"):
        detect({})
    with pytest.raises(ValueError, match="several networks at once, editar, vit: expected one"):
        detect(gpt("b") | dino(1, 384, 8, 4))


def test_sizes_that_nothing_tells():
    shapes = dino(1, 48, 8, 4)
    with pytest.raises(ValueError, match="DINOv2, but: width 48 is no released size, .*heads"):
        detect(shapes)
    assert detect(shapes, {"num_attention_heads": 4}).config.heads == 4
    shapes = {key: s for key, s in gpt("b").items() if not key.startswith("layers.11.")}
    with pytest.raises(ValueError, match="11 layers of width 768 are no released size, .*n_head"):
        detect(shapes)
    assert detect(shapes, {"n_head": 6}).config.heads == 6


def test_shapes_that_do_not_fit():
    changes = {
        "wqkv has 3700 rows": {f"layers.{n}.attention.wqkv.weight": (3700, 768) for n in range(12)},
        "either classes or captions": {"cls_embedding.embedding_table.weight": (11, 768)},
        "unexpected.*: freqs_cis": {"freqs_cis": (16, 2)},
        "misshapen.*: layers.3.attention.wo": {"layers.3.attention.wo.weight": (768, 5)},
        "transformer/norm/scale is empty": {"norm.weight": (0,)},
        "120 positions": {"img_uncond_embedding": (120, 768)},
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=f"LlamaGen or EditAR, but: .*{message}"):
            detect(gpt("b") | change)
    incomplete = gpt("b")
    del incomplete["layers.7.ffn_norm.weight"]
    with pytest.raises(ValueError, match="missing.*: layers.7.ffn_norm.weight"):
        detect(incomplete)
    giant = {f"encoder.layer.0.mlp.weights_in.{end}": (8, 8) for end in ("weight", "bias")}
    with pytest.raises(ValueError, match="unexpected.*: encoder.layer.0.mlp.weights_in.bias"):
        detect(dino(1, 384, 8, 4) | giant)
