"""The networks of scores against their releases' code, and what `load` tells."""

import json
import math
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.checkpoints import pretrained
from jaxedit.config import (
    CLIPConfig,
    InceptionConfig,
    LPIPSConfig,
    PretrainedConfig,
    TowerConfig,
    ViTConfig,
    official,
)
from jaxedit.convert.keymaps import keymap_clip, keymap_inception, keymap_lpips, keymap_vit
from jaxedit.convert.keymaps.keymap import from_torch, to_torch
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.evaluate.networks import (
    BATCH,
    CLIPNetwork,
    DINONetwork,
    InceptionNetwork,
    LPIPSNetwork,
    clip_pixels,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SQUEEZE = PretrainedConfig(model_type="lpips", lpips=LPIPSConfig())
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def weights(arrays):
    """The arrays of a golden file that are parameters, f32, by PyTorch's names."""
    keys = ("features", "lin", "blocks", "norm", "patch_embed", "pos_embed", "cls_token")
    keys += ("text_model", "vision_model", "text_projection", "visual_projection", "logit_scale")
    return {k: v.astype(np.float32) for k, v in arrays.items() if k.startswith(keys)}


def seeded(shapes, rule):
    """Weights by PyTorch's names: `rule(key, normal numbers from a hash of the key)`."""
    state = {}
    for key, shape in shapes.items():
        numbers = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
        state[key] = rule(key, numbers.astype(np.float32)).astype(np.float32)
    return state


def enlarged(picture, times):
    return picture.repeat(times, axis=0).repeat(times, axis=1)


@pytest.fixture(scope="module")
def squeeze(golden):
    return LPIPSNetwork(
        SQUEEZE, from_torch(keymap_lpips.KEYMAP, weights(golden("metrics_lpips")[0]))
    )


@pytest.mark.parametrize("case", ["s64", "odd66x70", "identical"])
def test_lpips_of_squeezenet(golden, squeeze, case):
    arrays, description = golden("metrics_lpips")
    a, b = (arrays[f"{case}.{name}"][None].astype(np.float32) / 255 for name in ("src", "tgt"))
    mask = arrays[f"{case}.mask"][None, ..., None].astype(np.float32)
    regions = {"lpips": 1 - 0 * mask, "lpips_unedit_part": 1 - mask, "lpips_edit_part": mask}
    for name, region in regions.items():
        found = squeeze.lpips(a * region, b * region)
        np.testing.assert_allclose(found, [description["cases"][case][name]], rtol=1e-4)


def test_rows_are_independent_of_their_batch(squeeze):
    a, b = np.random.default_rng(0).random((2, BATCH + 3, 24, 20, 3), np.float32)
    whole = squeeze.lpips(a, b)
    assert whole.shape == (BATCH + 3,) and whole.dtype == np.float32
    rows = [squeeze.lpips(a[n : n + 1], b[n : n + 1])[0] for n in (0, BATCH + 2)]
    np.testing.assert_allclose(rows, whole[[0, -1]], rtol=1e-6)


def test_any_number_of_rows_compiles_once(squeeze):
    traced = []

    @jax.jit
    def double(variables, x):
        traced.append(x.shape)
        return 2 * x

    for rows in (1, BATCH, 2 * BATCH + 1):
        x = np.arange(rows, dtype=np.float32)
        np.testing.assert_array_equal(squeeze._run(double, x), 2 * x)
    assert traced == [(BATCH,)]


def dino_pixels(picture, size, *, antialias=True):
    """As PIE-Bench's code normalises pixels in 0..255."""
    shape = (*size, 3)
    pixels = jax.image.resize(picture.astype(np.float32), shape, "bilinear", antialias=antialias)
    return np.float32((np.asarray(pixels) - MEAN) / DEVIATION)[None]


def similarity(keys):
    """The cosines of all pairs of keys."""
    lengths = np.linalg.norm(keys, axis=-1, keepdims=True)
    return keys @ keys.T / np.maximum(lengths * lengths.T, 1e-8)


@pytest.mark.parametrize("case", ["up96", "wide_up", "big512"])
def test_keys_of_dino(golden, case):
    arrays, description = golden("metrics_dino_structure")
    c, facts = description["config"], description["cases"][case]
    vit = ViTConfig(
        layers=c["depth"],
        width=c["embed_dim"],
        heads=c["num_heads"],
        mlp_hidden=c["embed_dim"] * c["mlp_ratio"],
        patch=c["patch_size"],
        grid=28,
        layer_scale=False,
        position_offset=0.1,
    )
    params = from_torch(keymap_vit.KEYMAP, weights(arrays))
    network = DINONetwork(PretrainedConfig(model_type="vit", vit=vit), params)
    pictures = [enlarged(arrays[f"{case}.{name}"], facts["repeat"]) for name in ("src", "tgt")]
    pixels = np.concatenate([dino_pixels(p, facts["resized_hw"]) for p in pictures])
    keys = network.keys(pixels)
    assert keys.shape == (2, facts["tokens"], vit.width)
    np.testing.assert_allclose(keys[0, :8], arrays[f"{case}.src_keys_first8"], rtol=1e-3, atol=1e-4)
    source, target = map(similarity, keys)
    np.testing.assert_allclose(source.mean(), facts["src_sim_mean"], rtol=1e-5)
    distance = np.mean((source - target) ** 2)
    np.testing.assert_allclose(distance, facts["struct_dist_aa"], rtol=1e-4)


def test_the_class_feature_follows_the_last_norm():
    vit = ViTConfig(layers=2, width=16, heads=2, mlp_hidden=24, patch=4, grid=3, layer_scale=False)
    network = random_network(DINONetwork, PretrainedConfig(model_type="vit", vit=vit))
    network._variables["params"]["norm"] = {"scale": jnp.zeros(16), "bias": jnp.arange(16.0)}
    feature = network.class_feature(np.ones((3, 12, 12, 3), np.float32))
    np.testing.assert_array_equal(feature, np.arange(16.0)[None].repeat(3, axis=0))


def random_network(cls, config, **options):
    dice = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: 0.2 * dice.standard_normal(leaf.shape, np.float32),
        pretrained.abstract_params(config)[cls.kind],
    )
    return cls(config, params, **options)


@pytest.fixture(scope="module")
def clip(golden):
    """The golden CLIP; its tokenizer knows four texts."""
    arrays, description = golden("metrics_clip")
    c, t = description["config"]["vision"], description["config"]["text"]
    sizes = [
        TowerConfig(
            layers=tower["layers"],
            width=tower["hidden"],
            heads=tower["heads"],
            mlp_hidden=tower["mlp"],
        )
        for tower in (c, t)
    ]
    config = CLIPConfig(
        image=sizes[0],
        text=sizes[1],
        patch=c["patch"],
        grid=c["image"] // c["patch"],
        vocab_size=t["vocab"],
        max_text_tokens=t["max_len"],
        projection_width=description["config"]["proj"],
    )
    state = weights(arrays)
    state["logit_scale"] = state["logit_scale"].reshape(())
    tokens = description["tokens"]
    tokenizer = TextTokenizer(lambda text: {"input_ids": tokens[text]}, pathlib.Path())
    params = from_torch(keymap_clip.KEYMAP, state)
    return CLIPNetwork(
        PretrainedConfig(model_type="clip", clip=config), params, tokenizer=tokenizer
    )


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("case", ["sq320", "wide240x300", "small160x128"])
def test_clip_scores(golden, clip, case):
    arrays, description = golden("metrics_clip")
    facts = description["cases"][case]
    source, target = (
        enlarged(arrays[f"{case}.{name}_small"], facts["repeat"]) for name in ("src", "tgt")
    )
    top, bottom, left, right = facts["mask_box_yyxx"]
    mask = np.ones(target.shape[:2], np.uint8)  # the frame is part of the mask
    mask[1:-1, 1:-1] = 0
    mask[top:bottom, left:right] = 1
    features = clip.image_features([source, target, target * mask[..., None]])
    for feature, name in zip(features, ("src", "tgt", "tgt_masked"), strict=True):
        np.testing.assert_allclose(feature, arrays[f"{case}.img_feat_{name}"], atol=1e-4)
    texts = list(facts["edit_region_all_texts"])
    for feature, text in zip(clip.text_features(texts), texts, strict=True):
        expected = facts["edit_region_all_texts"][text]["raw_cos"]
        assert cosine(features[2], feature) == pytest.approx(expected, abs=1e-5)
    assert cosine(*features[:2]) == pytest.approx(facts["emu"]["clip_im"], abs=1e-5)


def test_clip_pixels(golden):
    arrays, _ = golden("metrics_clip")
    pixels = clip_pixels(enlarged(arrays["wide240x300.tgt_small"], 4), 224)
    expected = arrays["wide240x300.tgt_pixel_values_pil_rows0_32"].transpose(1, 2, 0)
    np.testing.assert_allclose(pixels[:32], expected, atol=1e-6)
    mean_std = arrays["wide240x300.tgt_pixel_values_pil_mean_std"]
    np.testing.assert_allclose([pixels.mean(), pixels.std(ddof=1)], mean_std, atol=1e-5)


def test_a_long_text_loses_its_end(clip):
    long = [60, *[5, 9] * 40, 61]
    tokens = {"long": long, "cut": long[:77], "other": [60, 5, 61]}
    clip = CLIPNetwork(
        PretrainedConfig(model_type="clip", clip=clip.config),
        clip._variables["params"],
        tokenizer=TextTokenizer(lambda text: {"input_ids": tokens[text]}, pathlib.Path()),
    )
    long, cut, other = clip.text_features(["long", "cut", "other"])
    np.testing.assert_array_equal(long, cut)
    assert np.abs(long - other).max() > 1e-3


@pytest.fixture
def bpe(tmp_path):
    """CLIP's tokenizer with the part of its vocabulary that the golden texts need."""
    from transformers import CLIPTokenizer

    part = json.loads((GOLDEN / "clip_bpe_subset.json").read_text())
    merges = [tuple(pair) for pair in part["merges"]]
    CLIPTokenizer(vocab=part["vocab"], merges=merges).save_pretrained(tmp_path)
    return TextTokenizer.load(tmp_path)


def test_byte_pair_encoding(golden, bpe):
    _, description = golden("metrics_clip_bpe")
    for text, ids in zip(description["texts"], description["ids"], strict=True):
        expected = [n for n in ids if n]  # padding is 0
        assert bpe.encode(text)[: len(expected) - 1] == expected[:-1]
        assert bpe.encode(text)[-1] == expected[-1] == 49407


def test_features_of_inception_have_the_published_width():
    config = PretrainedConfig(model_type="inception", inception=InceptionConfig())
    shapes = pretrained.param_shapes(config)
    assert len(shapes) == 5 * 94
    assert shapes["inception/Mixed_7c/branch3x3dbl_3b/kernel"] == (3, 1, 384, 384)


def inception_rule(key, numbers):
    if key.endswith("running_var"):
        return 1 + 0.2 * np.abs(numbers)
    if key.endswith("bn.weight"):
        return 1 + 0.2 * numbers
    if numbers.ndim == 1:
        return 0.1 * numbers
    return numbers * np.float32(math.sqrt(2 / math.prod(numbers.shape[1:])))


def inception_shapes():
    """Shapes by PyTorch's names."""
    blank = {
        path.removeprefix("inception/"): np.broadcast_to(np.float32(0), shape)
        for path, shape in pretrained.param_shapes(official("inception").config).items()
    }
    return {key: v.shape for key, v in to_torch(keymap_inception.KEYMAP, blank).items()}


@pytest.mark.slow
def test_inception_at_full_size(golden):
    arrays, description = golden("metrics_fid_inception_seeded")
    params = from_torch(keymap_inception.KEYMAP, seeded(inception_shapes(), inception_rule))
    picture = enlarged(arrays["in.small"], 4)[:299, :299]
    network = InceptionNetwork(official("inception").config, params)
    (features,) = network.pool_features(picture[None].astype(np.float32))
    np.testing.assert_allclose(features, arrays["out.pool_features_2048"], rtol=1e-4, atol=1e-5)
    assert features.mean() == pytest.approx(description["feature_stats"]["mean"], rel=1e-5)


def dino_rule(key, numbers):
    if key in ("pos_embed", "cls_token"):
        return 0.2 * numbers
    if numbers.ndim == 1:
        return 1 + 0.2 * numbers if key.endswith("weight") else 0.1 * numbers
    if key == "patch_embed.proj.weight":
        return 0.003 * numbers
    return numbers / np.float32(math.sqrt(math.prod(numbers.shape[1:])))


def dino_shapes(c):
    """Shapes by the authors' names."""
    D, block = c.width, {"norm1": (c.width,), "norm2": (c.width,)}
    block |= {"attn.qkv": (3 * D, D), "attn.proj": (D, D)}
    block |= {"mlp.fc1": (c.mlp_hidden, D), "mlp.fc2": (D, c.mlp_hidden)}
    layers = {f"blocks.{n}.{name}": shape for n in range(c.layers) for name, shape in block.items()}
    layers |= {"norm": (D,), "patch_embed.proj": (D, 3, c.patch, c.patch)}
    shapes = {"cls_token": (1, 1, D), "pos_embed": (1, 1 + c.grid**2, D)}
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


@pytest.mark.slow
def test_dino_vitb8_at_full_size(golden):
    arrays, description = golden("metrics_dino_vitb8_seeded")
    config = official("dino-vitb8").config
    params = from_torch(keymap_vit.KEYMAP, seeded(dino_shapes(config.vit), dino_rule))
    network = DINONetwork(config, params)
    pictures = [enlarged(arrays[f"{name}_small"], 4) for name in ("src", "tgt")]
    keys = network.keys(np.concatenate([dino_pixels(p, (224, 224)) for p in pictures]))
    source, target = map(similarity, keys)
    np.testing.assert_allclose(source[:16, :16], arrays["src_sim_16x16"], atol=1e-5)
    distance = np.mean((source - target) ** 2)
    assert distance == pytest.approx(description["structure_distance"], rel=1e-3)
