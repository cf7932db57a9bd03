"""Edits by devices that share the weights, and the choice of their number."""

import numpy as np
import pytest

from jaxedit import Editor
from jaxedit.checkpoints.pretrained import read_config
from jaxedit.config import EDITAR_PRESETS, PRESETS, ConfigError, settings_of
from jaxedit.editor import edit_mesh
from jaxedit.editor.edit_memory import Plan, memory_items
from jaxedit.editor.edit_mesh import Devices, choose, tensor_sizes
from jaxedit.planning.collectives import traffic
from jaxedit.planning.device_memory import DeviceMemory, total

WORDS = ["make the ball blue", "remove the star", "add a tent"]


def pictures(side):
    return [np.random.default_rng(i).integers(0, 256, (side, side, 3), np.uint8) for i in range(3)]


def same(a, b):
    tokens = all(np.array_equal(x, y) for x, y in zip(a.tokens, b.tokens, strict=True))
    return tokens and a.image.tobytes() == b.image.tobytes()


@pytest.fixture
def small_devices(tiny_model, monkeypatch):
    """Eight devices, none of which can hold the model with its pictures."""
    config = read_config(tiny_model)
    needed = total(memory_items(config, settings_of(config, None, {}), Plan(dtype="float32")))
    devices = Devices(8, DeviceMemory(needed, "a device"))
    monkeypatch.setattr(edit_mesh, "_here", lambda: devices)


def test_weights_that_do_not_fit_are_shared(tiny_model, small_devices):
    alone = Editor.from_pretrained(tiny_model)
    shared = Editor.from_pretrained(tiny_model, mesh="all", dtype="float32")
    assert (shared.tensor, shared.rows, alone.tensor) == (2, 4, 1)
    qkv = shared.params["transformer"]["blocks"]["attn"]["qkv"]["kernel"].kernel
    assert qkv.sharding.shard_shape(qkv.shape) == (1, 32, 48)
    edits = shared.edit_batch(pictures(32), WORDS)
    for one, other in zip(alone.edit_batch(pictures(32), WORDS), edits, strict=True):
        assert same(one, other)
    assert edits[0].settings["tensor"] == 2

    (program,) = shared.pipeline._executables.values()
    sent = traffic(program.as_text(), shared.pipeline.mesh)
    assert {row.axes for row in sent} == {("tensor",)}
    assert "all-to-all" not in {row.kind for row in sent}  # no kernel changes its place


def test_editar_is_shared_too(tiny_editar):
    alone, shared = (
        Editor.from_pretrained(tiny_editar, mesh=mesh).edit_batch(
            pictures(16), WORDS, method="editar+erec"
        )
        for mesh in (None, "tensor=2")
    )
    for one, other in zip(alone, shared, strict=True):
        assert same(one, other)


def test_sizes_divide_heads_and_hidden_units():
    assert tensor_sizes(PRESETS["8b"]) == [1, 2, 4, 7, 14, 28]
    assert tensor_sizes(EDITAR_PRESETS["xl"]) == [1, 2, 4]  # 20 heads, 3584 hidden units


def test_the_choice():
    config = PRESETS["tiny"]
    settings, plan = settings_of(config, None, {}), Plan()
    most = tensor_sizes(config)[-1]
    assert most >= 4

    def chosen(text, count, share):
        needed = total(memory_items(config, settings, plan))
        memory = DeviceMemory(share * needed / edit_mesh.SHARE, "a device")
        found = choose(text, config, settings, plan, Devices(count, memory))
        return found.data, found.tensor

    assert chosen("one", 4, 1.01) == (1, 1) and chosen("all", 4, 1.01) == (4, 1)
    assert chosen("one", 4, 0.99) == (1, 4) and chosen("all", 4, 0.99) == (2, 2)
    assert chosen("all", 3, 0.99) == (3, 1)  # three devices cannot share it
    assert chosen("all", 4, 0.01) == (1, 4)
    unknown = Devices(4, DeviceMemory(None, "a device"))
    assert choose("all", config, settings, plan, unknown).data == 4
    assert str(choose("data=2,tensor=2", config, settings, plan, unknown)) == (
        "data=2 x tensor=2: as given"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensor=8", "tensor=8 does not divide the 28 heads and 14336 hidden units of the model: "),
        ("tensor=8", "expected 1, 2, 4, 7, 14 or 28"),
        ("fsdp=4", "mesh: 'fsdp=4': expected sizes such as data=1,tensor=4"),
        ("data=0", "mesh: 'data=0': expected sizes"),
        ("tensor=2,tensor=4", "mesh: 'tensor=2,tensor=4': expected each size once"),
        ("data=2,tensor=4", "mesh: data=2,tensor=4: 8 devices, but there are 4"),
    ],
)
def test_sizes_that_cannot_work(text, message):
    with pytest.raises(ConfigError, match=message):
        choose(text, PRESETS["8b"], (), Plan(), Devices(4, DeviceMemory(None, "a device")))
