"""The models of a server: names, lazy loading, room for others."""

import pytest

from jaxedit.config import ConfigError
from jaxedit.serve.models import ServedModels, UnknownModel


def served(names, failures=(), **settings):
    """Models that are loaded as their own names, and the names in the order of loading."""
    loads, failures = [], list(failures)

    def load(name):
        if failures:
            raise failures.pop()
        loads.append(name)
        return name

    return ServedModels(names, load=load, **{"max_loaded": 0} | settings), loads


def test_names_and_settings_are_known_before_weights(tiny_model):
    models, loads = served(["toy-varedit", str(tiny_model)])
    assert list(models.configs) == ["toy-varedit", "tiny"] and models.default == "toy-varedit"
    assert models.config("tiny").model_type == "varedit" and not loads
    with pytest.raises(UnknownModel, match="model='gpt': expected one of toy-varedit, tiny"):
        models.config("gpt")
    with pytest.raises(ConfigError, match="expected different names"):
        served(["toy-varedit", "toy-varedit"])
    with pytest.raises(OSError, match="nothing"):
        served(["nothing"])


def test_the_model_used_longest_ago_makes_room(tiny_model):
    models, loads = served(["toy-varedit", "toy-editar", str(tiny_model)], max_loaded=2)
    for name in ("toy-varedit", "toy-editar", "toy-varedit", "tiny"):
        models.editor(name)
    assert models.loaded == ["toy-varedit", "tiny"]
    assert loads == ["toy-varedit", "toy-editar", str(tiny_model)]


def test_idle_models_are_unloaded_when_the_memory_is_full():
    full = RuntimeError("RESOURCE_EXHAUSTED: out of memory")
    models, _ = served(["toy-varedit", "toy-editar"])
    models.editor("toy-varedit")
    attempts = []

    def make():
        attempts.append(models.loaded)
        if len(attempts) < 2:
            raise full
        return "made"

    models.editor("toy-editar")
    assert models.with_memory(make, keep="toy-editar") == "made"
    assert attempts == [["toy-varedit", "toy-editar"], ["toy-editar"]]
    for error in (full, RuntimeError("another")):
        models, _ = served(["toy-varedit"], [error])
        with pytest.raises(RuntimeError, match=str(error)):
            models.editor("toy-varedit")
