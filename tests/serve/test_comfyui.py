"""The node of ComfyUI, called as ComfyUI calls nodes, against the server."""

import importlib.util
import inspect
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from serving import picture

NODE = pathlib.Path(__file__).parents[2] / "integrations/comfyui/__init__.py"


@pytest.fixture(scope="module")
def nodes():
    """The package, imported under any name as ComfyUI does; arrays stand for torch's tensors."""
    spec = importlib.util.spec_from_file_location("custom", NODE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=np.asarray))
        for name in ("custom", "custom.node", "custom.client"):
            patch.setitem(sys.modules, name, module)
        del sys.modules["custom.node"], sys.modules["custom.client"]
        spec.loader.exec_module(module)
    return module


def execute(nodes, **inputs):
    """Run the node with the given inputs, and the defaults of the others that are not optional."""
    (cls,) = nodes.NODE_CLASS_MAPPINGS.values()
    types = cls.INPUT_TYPES()
    assert set(inputs) <= set(types["required"]) | set(types["optional"])
    defaults = {n: t[1]["default"] for n, t in types["required"].items() if len(t) > 1}
    results = getattr(cls(), cls.FUNCTION)(**defaults | inputs)
    assert len(results) == len(cls.RETURN_TYPES)
    return results[0]


def values(image):
    """A picture as ComfyUI holds it."""
    return np.asarray(image, np.float32) / 255


def test_the_interface(nodes):
    assert nodes.NODE_CLASS_MAPPINGS.keys() == nodes.NODE_DISPLAY_NAME_MAPPINGS.keys()
    (cls,) = nodes.NODE_CLASS_MAPPINGS.values()
    types = cls.INPUT_TYPES()
    arguments = inspect.signature(getattr(cls, cls.FUNCTION)).parameters
    assert [*arguments] == ["self", *types["required"], *types["optional"]]
    for name, (kind, *options) in types["optional"].items():
        if options and "default" in options[0]:
            assert options[0]["default"] == arguments[name].default, name
        assert isinstance(kind, str | list)


def test_a_batch_is_edited_with_the_seeds_of_its_pictures(nodes, fake, monkeypatch):
    batch = np.stack([values(picture(seed=seed)) for seed in (0, 1)])
    mask = np.zeros((1, 16, 24), np.float32)
    mask[:, 4:12, 6:18] = 1
    masks = []
    with fake() as (client, _, editor, _):
        edit_batch = editor.edit_batch

        def seen(sources, *words, **options):
            masks.extend(source.mask for source in sources)
            return edit_batch(sources, *words, **options)

        monkeypatch.setattr(editor, "edit_batch", seen)
        edited = execute(nodes, image=batch, mask=mask, seed=5, server=str(client.base_url))
        assert editor.batches == [[5], [6]]
    assert edited.dtype == np.float32
    assert np.abs(edited - (1 - batch)).max() < 1e-6  # the fake editor inverts
    assert len(masks) == 2 and all(np.array_equal(m.pixels, mask[0] > 0.5) for m in masks)


def test_a_black_mask_of_another_size_leaves_all_free(nodes, fake):
    with fake() as (client, _, _, _):
        inputs = {"image": values(picture())[None], "server": str(client.base_url)}
        edited = execute(nodes, mask=np.zeros((1, 64, 64), np.float32), **inputs)
    assert edited.shape == (1, 16, 24, 3)


def test_errors_are_one_line(nodes, fake, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("a-key-of-some-length\n")
    image = values(picture())[None]

    def fails(message, **inputs):
        with pytest.raises(RuntimeError, match=message) as caught:
            execute(nodes, image=image, **inputs)
        assert len(str(caught.value).splitlines()) == 1

    with fake(api_key_file=str(keys)) as (client, _, _, _):
        server = str(client.base_url)
        fails("jaxedit: .*key", server=server)
        good = {"server": server, "api_key_file": str(keys)}
        fails("jaxedit: .*none", model="none", **good)
        fails("jaxedit: 2 masks: expected 1, or 1", mask=np.ones((2, 16, 24)), **good)
        fails("No such file", server=server, api_key_file=str(tmp_path / "absent"))
        fails("jaxedit: .*404", **good | {"server": f"{server}/docs"})
    fails("no edit from .* is it running", server=server)
    fails("expected http://HOST:PORT", server="127.0.0.1:8000")
