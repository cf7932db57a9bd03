import numpy as np
import pytest
from PIL import Image

import jaxedit
from jaxedit import Editor, Generator
from jaxedit.checkpoints import pretrained
from jaxedit.config import ConfigError, MeshConfig
from jaxedit.editor import provenance
from jaxedit.sharding.mesh import make_mesh

WORDS = "a blue ball"


@pytest.fixture(scope="module")
def infinity(tiny_infinity):
    return Generator.from_pretrained(tiny_infinity)


@pytest.fixture(scope="module")
def llamagen(tiny_llamagen):
    return Generator.from_pretrained(tiny_llamagen)


@pytest.fixture(scope="module")
def classes(tiny_classes):
    return Generator.from_pretrained(tiny_classes)


@pytest.fixture(params=["infinity", "llamagen", "classes"])
def generator(request):
    return request.getfixturevalue(request.param)


def prompts_for(generator) -> list:
    return [WORDS, "two stars", "a tent"] if generator.tokenizer else [3, "0", 9]


def same(a, b) -> bool:
    tokens = zip(a.tokens, b.tokens, strict=True)
    return a.image.tobytes() == b.image.tobytes() and all(np.array_equal(*pair) for pair in tokens)


def test_a_picture_says_how_it_was_made_and_is_saved_so(generator, tmp_path):
    prompt = prompts_for(generator)[0]
    result = generator.generate(prompt, seed=7, guidance=2.0)
    assert result.image.size == (generator.size,) * 2 and result.image.mode == "RGB"
    settings = result.settings
    assert (settings["prompt"], settings["seed"], settings["guidance"]) == (str(prompt), 7, 2.0)
    assert "instruction" not in settings and result.diagnostics["seconds"] > 0
    written = result.save(tmp_path / "a.png")
    assert written == provenance.read_settings(tmp_path / "a.png", "draw")
    assert written["weights_sha256"] == generator.fingerprint
    assert Image.open(tmp_path / "a.png").tobytes() == result.image.tobytes()
    with pytest.raises(ValueError, match="expected a name ending in .png"):
        result.save(tmp_path / "a.jpg")


def test_each_row_is_what_it_is_alone(generator):
    prompts = prompts_for(generator)
    batch = generator.generate_batch(prompts, seed=5)
    assert not same(batch[0], batch[1])
    for i, row in enumerate(batch):
        assert same(row, generator.generate(prompts[i], seed=5 + i))
    again = generator.generate_batch(prompts[:2], seeds=[5, 4])
    assert same(again[0], batch[0]) and not same(again[1], batch[1])


def test_settings_change_the_picture(generator):
    prompt = prompts_for(generator)[0]
    usual = generator.generate(prompt, temperature=2.0, top_p=1.0)
    assert not same(usual, generator.generate(prompt, temperature=2.0, top_p=1.0, seed=1))
    greedy = generator.generate(prompt, greedy=True)
    assert same(greedy, generator.generate(prompt, greedy=True, seed=1))
    assert not same(greedy, generator.generate(prompt, greedy=True, guidance=1.0))


def test_tokens_are_as_the_model_makes_them(infinity, llamagen):
    scales = infinity.config.varedit.scales
    bits = infinity.config.varedit.token_bits
    result = infinity.generate(WORDS)
    assert [x.shape for x in result.tokens] == [(h * w, bits) for h, w in scales]
    (tokens,) = llamagen.generate(WORDS).tokens
    assert tokens.shape == (4, 4) and tokens.dtype == np.int32


def test_a_mesh_changes_nothing(infinity, tiny_infinity):
    spread = Generator.from_pretrained(tiny_infinity, mesh=make_mesh(MeshConfig()))
    assert spread.rows == 8
    for one, other in zip(
        *(x.generate_batch([WORDS] * 3, greedy=True) for x in (infinity, spread)), strict=True
    ):
        assert same(one, other)


def test_captions_are_cleaned_for_llamagen_alone(infinity, llamagen):
    shouted = "A  BLUE Ball http://example.org/a"
    assert same(llamagen.generate(WORDS), llamagen.generate("  A Blue <b>BALL</b> "))
    assert llamagen.tokenizer.encode(shouted) == llamagen.tokenizer.encode("a  blue ball")
    assert infinity.tokenizer.encode(shouted) != infinity.tokenizer.encode("a  blue ball")


def test_classes_are_numbers(classes):
    assert same(classes.generate(3), classes.generate("3"))
    for prompt in ("10", "-1", "a cat", "3.0"):
        with pytest.raises(ConfigError, match="expected the number of a class, 0 to 9"):
            classes.generate(prompt)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "no prompts: expected at least one"),
        (([WORDS],), {"seeds": [1, 2]}, "2 seeds for 1 pictures"),
        (([" "],), {}, "prompt=' ': expected some words"),
        (([None],), {}, "prompt=None: expected some words"),
        (([WORDS],), {"seed": -1}, "seed=-1: expected 0 to"),
        (([WORDS],), {"tau_js": 0.5}, "tau_js=0.5: no option of method infinity"),
        (([WORDS],), {"method": "varedit"}, "method='varedit': expected one of infinity"),
        ((["ball " * 40],), {"strict": True}, "has 41 tokens: expected at most 32"),
    ],
)
def test_wrong_arguments_are_named(infinity, arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        infinity.generate_batch(*arguments, **options)


def test_the_wrong_model_is_told_the_right_class(tiny_infinity, tiny_model):
    with pytest.raises(ConfigError, match="draws a picture from a text: jaxedit.Generator"):
        Editor.from_pretrained(tiny_infinity)
    with pytest.raises(ConfigError, match="varedit edits pictures: jaxedit.Editor"):
        Generator.from_pretrained(tiny_model)
    assert jaxedit.GenerateResult.__name__ == "GenerateResult"


@pytest.mark.parametrize(
    "option", [{"text_on_host": True}, {"text_features": "a.safetensors"}, {"int8": ("t5",)}]
)
def test_classes_have_no_text_encoder(tiny_classes, option):
    with pytest.raises(ConfigError, match="a model that draws classes has no text encoder"):
        Generator.from_pretrained(tiny_classes, **option)


def test_text_features_are_kept_and_told_apart(llamagen, tiny_llamagen, tiny_editar, tmp_path):
    file = tmp_path / "texts.safetensors"
    kept = Generator.from_pretrained(tiny_llamagen, text_features=file)
    assert same(kept.generate(WORDS), llamagen.generate(WORDS)) and file.is_file()
    config, params, _ = pretrained.load_pretrained(tiny_llamagen, ["t5"])
    _, others, _ = pretrained.load_pretrained(tiny_editar)
    editar = pretrained.read_config(tiny_editar)
    pretrained.save_pretrained(tmp_path / "m", editar, others | params, "toy-tokenizer")
    with pytest.raises(ConfigError, match="cleaning is llamagen there, None here"):
        Editor.from_pretrained(tmp_path / "m", text_features=file)


def test_int8_draws_much_the_same(llamagen, tiny_llamagen):
    compressed = Generator.from_pretrained(tiny_llamagen, int8=("t5", "transformer"))
    result = compressed.generate(WORDS)
    assert result.settings["int8"] == ["t5", "transformer"] and result.image.size == (16, 16)
