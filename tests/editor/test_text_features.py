import jax
import numpy as np
import pytest

from jaxedit.checkpoints import pretrained, safetensors_file
from jaxedit.config import PRESETS, ConfigError
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.editor import text_features
from jaxedit.editor.text_features import TextFeatures
from jaxedit.file_lock import locked

WORDS = ["make the ball blue", "remove the star"]


def features(directory, params=None, *, dtype="float32", **options):
    config = pretrained.read_config(directory)
    tokenizer = TextTokenizer.load(directory)
    return TextFeatures(config, params, tokenizer, directory=directory, dtype=dtype, **options)


@pytest.fixture(scope="module")
def usual(tiny_model):
    return features(tiny_model)


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setattr(text_features, "open_params", None)


def test_a_text_is_encoded_once_and_alone(usual, monkeypatch):
    both, mask = usual(WORDS)
    assert both.shape == (2, 32, 64) and both.dtype == np.float32
    monkeypatch.setattr(usual, "_programs", {})
    monkeypatch.setattr(usual, "_params", None)
    monkeypatch.setattr(text_features, "open_params", None)  # the weights are not asked for again
    again, _ = usual([WORDS[1], WORDS[0], WORDS[1]])
    np.testing.assert_array_equal(again, both[[1, 0, 1]])
    assert not both[~mask].any() and both[mask].all()
    with pytest.raises(TypeError):
        usual(["add a tent"])


def test_short_texts_are_encoded_without_most_of_their_padding(usual, tiny_model, monkeypatch):
    monkeypatch.setattr(text_features, "BUCKET", 8)
    short = features(tiny_model)
    texts = [WORDS[1], "make " * 60]
    found, mask = short(texts)
    assert list(short._programs) == [8, 32] and mask.sum(1).tolist() == [4, 32]
    expected, _ = usual(texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])


def test_editar_sees_padding(tiny_editar):
    one, mask = features(tiny_editar)(WORDS[:1])
    assert one[~mask].any()


def test_the_host_gives_the_same(usual, tiny_model):
    host = features(tiny_model, on_host=True)
    np.testing.assert_array_equal(host(WORDS)[0], usual(WORDS)[0])
    (device,) = host._params["embed"].devices()
    assert device.platform == "cpu"


def test_a_host_without_cpu_backend(monkeypatch):
    def local_devices(backend):
        raise RuntimeError("Unknown backend cpu\nmore")

    monkeypatch.setattr(jax, "local_devices", local_devices)
    with pytest.raises(ConfigError, match="expected cpu among JAX_PLATFORMS: Unknown backend cpu$"):
        text_features.host_device()


@pytest.mark.parametrize("model", ["tiny_model", "tiny_editar"])
def test_a_complete_file_needs_no_weights(model, request, tmp_path, monkeypatch):
    directory, file = request.getfixturevalue(model), tmp_path / "texts.safetensors"
    first = features(directory, file=file)
    expected, mask = first(WORDS)
    monkeypatch.setattr(text_features, "open_params", None)
    second = features(directory, file=file)
    second.compile()
    found, again = second([WORDS[1], WORDS[0]])
    np.testing.assert_array_equal(found, expected[::-1])
    np.testing.assert_array_equal(again, mask[::-1])
    with pytest.raises(TypeError):
        second(["add a tent"])


def test_a_file_grows_and_forgets_nothing(tiny_model, tmp_path):
    file = tmp_path / "texts.safetensors"
    one, two = (features(tiny_model, file=file) for _ in range(2))
    one.prepare(WORDS[:1])
    two.prepare(WORDS[1:])  # opened before the other one wrote
    names = safetensors_file.read_stored(file)
    assert set(names) == {f"text/{words}" for words in WORDS}
    assert len(names[f"text/{WORDS[0]}"][...]) < 8  # padding is not stored
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_processes_add_one_after_another(tiny_model, tmp_path, monkeypatch):
    write, refused = safetensors_file.write, []

    def watched(*arguments, **options):
        with pytest.raises(OSError, match="taken"), locked(tmp_path, "taken"):
            pass
        refused.append(True)
        write(*arguments, **options)

    monkeypatch.setattr(safetensors_file, "write", watched)
    features(tiny_model, file=tmp_path / "texts.safetensors").prepare(WORDS[:1])
    assert refused == [True]


def test_a_write_that_fails_leaves_the_old_file(tiny_model, tmp_path, monkeypatch):
    file = tmp_path / "texts.safetensors"
    features(tiny_model, file=file).prepare(WORDS[:1])
    before = file.read_bytes()

    def full(path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors_file, "write", full)
    with pytest.raises(OSError, match="texts.safetensors: not written: No space left on device"):
        features(tiny_model, file=file).prepare(WORDS[1:])
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_features_of_another_encoder_are_refused(tiny_model, tiny_editar, tmp_path):
    file = tmp_path / "texts.safetensors"
    features(tiny_model, file=file).prepare(WORDS[:1])
    with pytest.raises(ConfigError, match="another text encoder: dtype is float32 there, bfloat16"):
        features(tiny_model, file=file, dtype="bfloat16")
    with pytest.raises(ConfigError, match="weights is .* there, .* here, tokens is 32 there, 29"):
        features(tiny_editar, file=file)


def test_files_that_are_something_else(tiny_model, tmp_path):
    with pytest.raises(ConfigError, match="model.safetensors: expected text features of jaxedit"):
        features(tiny_model, file=tiny_model / "model.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="a.safetensors: not a complete safetensors file"):
        features(tiny_model, file=tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        features(tiny_model, file=tmp_path / "absent" / "a.safetensors")


def test_prompts_of_tasks():
    config = PRESETS["tiny"]
    assert text_features.prompt_of(config, "as it is", None) == "as it is"
    with pytest.raises(ConfigError, match="task='depth': expected EditAR's weights, found varedit"):
        text_features.prompt_of(config, "a ball", "depth")
