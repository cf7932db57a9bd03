import jax
import numpy as np
import pytest
from PIL import Image

from jaxedit import Editor
from jaxedit.__main__ import main
from jaxedit.config import ConfigError, MeshConfig
from jaxedit.ops.int8 import Int8
from jaxedit.sharding.mesh import make_mesh

BOTH = ("t5", "transformer")
WORDS = "make the ball blue"


def picture(seed=0, side=16):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def same(a, b) -> bool:
    tokens = all(np.array_equal(x, y) for x, y in zip(a.tokens, b.tokens, strict=True))
    return tokens and a.image.tobytes() == b.image.tobytes()


def integers(params) -> int:
    leaves = jax.tree.leaves(params, is_leaf=lambda x: isinstance(x, Int8))
    return sum(isinstance(x, Int8) for x in leaves)


@pytest.mark.slow
def test_varedit_with_integers_is_the_same_on_a_mesh(tiny_model):
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    alone, spread = (Editor.from_pretrained(tiny_model, mesh=m, int8=BOTH) for m in (None, mesh))
    assert integers(alone.params) == integers(spread.params) == 14  # 7 kernels, 2 kinds of block
    images, words = [picture(i) for i in range(2)], [WORDS, "remove the star"]
    options = {"greedy": True}
    edits = alone.edit_batch(images, words, **options)
    for one, other in zip(edits, spread.edit_batch(images, words, **options), strict=True):
        assert same(one, other)
    assert edits[0].settings["int8"] == ["t5", "transformer"]


def test_editar_decodes_with_integers(tiny_editar):
    editor = Editor.from_pretrained(tiny_editar, int8=BOTH)
    assert integers(editor.params) == 4 * editor.config.editar.layers
    one, two = editor.edit_batch([picture(1)] * 2, [WORDS] * 2, seeds=[3, 3])
    assert same(one, two) and one.tokens[0].shape == (4, 4)


def test_integers_change_the_texts_features_little(tiny_model):
    plain, small = (Editor.from_pretrained(tiny_model, int8=names) for names in ((), ["t5"]))
    (features,), (other,) = plain.text([WORDS])[0], small.text([WORDS])[0]
    error = np.linalg.norm(features - other) / np.linalg.norm(features)
    assert 0 < error < 0.03
    assert integers(small.params) == 0 and small.int8 == ("t5",)
    host = Editor.from_pretrained(tiny_model, int8=["t5"], text_on_host=True)
    np.testing.assert_array_equal(host.text([WORDS])[0], other[None])


def test_features_of_the_other_kind_are_refused(tiny_model, tmp_path):
    file = tmp_path / "texts.safetensors"
    Editor.from_pretrained(tiny_model, text_features=file, int8=["t5"]).text([WORDS])
    with pytest.raises(ConfigError, match="kernels is int8 there, float32 here"):
        Editor.from_pretrained(tiny_model, text_features=file)


def test_replay_with_integers(tiny_model, tmp_path, capsys):
    photo, edited, again = (str(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    Image.fromarray(picture()).save(photo)
    model = f"--model={tiny_model}"
    options = ["--int8=t5,transformer", "--greedy"]  # a program that is on disk already
    assert main([photo, WORDS, model, *options, "--output", edited]) == 0
    assert main(["--from_png", edited, "--output", again]) == 0
    assert "bit for bit" in capsys.readouterr().out
    assert main(["--from_png", edited, "--int8=t5"]) == 2
    assert "takes int8 from the file" in capsys.readouterr().err


def test_wrong_networks_are_named(tiny_model, capsys):
    with pytest.raises(ConfigError, match="int8=bsq,t5: expected some of t5, transformer"):
        Editor.from_pretrained(tiny_model, int8=("bsq", "t5"))
    assert main(["a.png", WORDS, "--int8=t6"]) == 2
    assert capsys.readouterr().err == "error: int8=t6: expected some of t5, transformer\n"
