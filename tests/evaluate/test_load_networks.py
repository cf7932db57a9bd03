"""Loading the networks of scores: their names, and what is said if they are not there."""

import pathlib

import jax
import numpy as np
import pytest

from jaxedit.checkpoints import hub, pretrained
from jaxedit.config import (
    OFFICIAL,
    ConfigError,
    LPIPSConfig,
    PretrainedConfig,
)
from jaxedit.convert.check import of_network, statistics
from jaxedit.evaluate.networks import (
    NETWORKS,
    MissingNetwork,
    load,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SQUEEZE = PretrainedConfig(model_type="lpips", lpips=LPIPSConfig())
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def test_every_name_is_official():
    for name, network in NETWORKS.items():
        assert getattr(OFFICIAL[name].config, network.kind) is not None


def test_a_missing_network_says_how_to_bring_it(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "CONVERTED", str(tmp_path))
    with pytest.raises(MissingNetwork) as caught:
        load("lpips-squeeze")
    message = str(caught.value)
    assert (
        "\n" not in message and "fetch https://download.pytorch.org/models/squeezenet1" in message
    )
    assert (
        "python -m jaxedit.convert --src=squeezenet1_1-b8a52dc0.pth --src=squeeze.pth "
        f"--dst={tmp_path}/lpips-squeeze" in message
    )
    with pytest.raises(MissingNetwork, match="no such|expected"):
        load("inception", directory=tmp_path / "nothing")


def test_names_and_directories_of_other_networks(tmp_path):
    with pytest.raises(ConfigError, match="'lpips': expected one of lpips-squeeze, "):
        load("lpips")
    directory = save(tmp_path / "squeeze", SQUEEZE)
    with pytest.raises(ConfigError, match="a lpips model has no vit"):
        load("dino-vitb8", directory=directory)


def save(directory, config, dtype="float32"):
    params = jax.tree.map(
        lambda x: np.ones(x.shape, np.float32), pretrained.abstract_params(config)
    )
    return pretrained.save_pretrained(directory, config, params, dtype=dtype)


def test_a_converted_network_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "CONVERTED", str(tmp_path))
    save(tmp_path / "lpips-squeeze", SQUEEZE)
    network = load("lpips-squeeze")
    _, stored = pretrained.open_pretrained(tmp_path / "lpips-squeeze")
    assert network.sha256 == statistics(of_network(stored, "lpips"), lambda n: None).digest
    assert network.lpips(*np.zeros((2, 1, 32, 32, 3), np.float32)) == 0


def test_rounded_weights_are_refused(tmp_path):
    directory = save(tmp_path / "squeeze", SQUEEZE, dtype="float16")
    with pytest.raises(ConfigError, match="weights in float16: expected float32"):
        load("lpips-squeeze", directory=directory)
