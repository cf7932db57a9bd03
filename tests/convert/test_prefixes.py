import numpy as np
import pytest
import torch_writer

from jaxedit.convert.prefixes import weights_of
from jaxedit.convert.state_dict import NoAverage, open_state

ONE, TWO = np.array([1.0], np.float32), np.array([2.0], np.float32)


def found(keys, *, ema=False):
    """Return the selected keys by their new names, and whether they are averages."""
    weights, is_average = weights_of({key: key for key in keys}, ema=ema)
    return weights, is_average


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "model.", "module.", "net.", "_orig_mod.", "network.", "model.module.", "net.model."),
        *("state_dict.", "trainer.gpt_fsdp.", "_forward_module.model._orig_mod."),
    ],
)
def test_a_prefix_that_all_keys_share_is_stripped(tmp_path, prefix):
    keys = ("head.weight", "blocks.0.model.weight", "pos")
    assert found([prefix + key for key in keys])[0].keys() == set(keys)
    torch_writer.save(tmp_path / "f.pt", {"state_dict": {prefix + key: ONE for key in keys}})
    assert open_state(tmp_path / "f.pt").arrays.keys() == set(keys)


@pytest.mark.parametrize("keys", [("model.a", "b"), ("encoder.a", "encoder.b"), ("model",), ()])
def test_others_stay(keys):
    assert found(keys)[0] == {key: key for key in keys}


@pytest.mark.parametrize("average", ["ema", "ema_model", "model_ema"])
@pytest.mark.parametrize("live", ["model", "net", "online_model"])
def test_weights_and_average_beside_each_other(average, live):
    keys = [f"{live}.a.b", f"{average}.a.b", f"{live}.c", f"{average}.c", "loss.a", "lpips.b.c"]
    assert found(keys) == ({"a.b": f"{live}.a.b", "c": f"{live}.c"}, False)
    assert found(keys, ema=True) == ({"a.b": f"{average}.a.b", "c": f"{average}.c"}, True)


def test_the_counters_of_averages_are_left_out():
    averaged = ["n_averaged", "module.a.b", "module.c"]
    assert found(averaged) == ({"a.b": "module.a.b", "c": "module.c"}, True)
    both = ["initted", "step", "online_model.a", "ema_model.a", "ema_model.b.step"]
    assert found(both) == ({"a": "online_model.a"}, False)
    assert found(both, ema=True)[0].keys() == {"a", "b.step"}
    assert found(["step"])[0].keys() == {"step"}


def test_losses_beside_the_network_are_left_out():
    keys = ["encoder.a", "decoder.b", "loss.discriminator.main.0.weight", "criterion.w"]
    assert found(keys)[0].keys() == {"encoder.a", "decoder.b"}
    assert found(["loss.a"])[0].keys() == {"loss.a"}


def test_only_an_average_is_there(tmp_path):
    torch_writer.save(tmp_path / "f.pt", {"ema_model.a": TWO})
    for ema in (False, True):
        state = open_state(tmp_path / "f.pt", ema=ema)
        assert state.arrays.keys() == {"a"} and state.is_average
    torch_writer.save(tmp_path / "f.pt", {"model.a": ONE, "loss.b": ONE})
    with pytest.raises(NoAverage, match="f.pt: holds no moving average of weights"):
        open_state(tmp_path / "f.pt", ema=True)


@pytest.mark.parametrize(
    "way", ["ema_model", "state_dict_ema", "model_state_dict", "net", "model/model", "params"]
)
def test_more_keys_of_training_programs(tmp_path, way):
    content = {"a": ONE}
    for key in reversed(way.split("/")):
        content = {"epoch": 3, "optimizer": {"state": {0: {"m": TWO}}}, key: content}
    torch_writer.save(tmp_path / "f.pt", content)
    assert open_state(tmp_path / "f.pt").arrays["a"][...].tolist() == [1]


def test_a_known_key_without_weights_is_passed_by(tmp_path):
    content = {"model": {"name": "XL"}, "module": {}, "state_dict": {"a": ONE}}
    torch_writer.save(tmp_path / "f.pt", content)
    assert open_state(tmp_path / "f.pt").arrays.keys() == {"a"}
