import ast
import dataclasses
import pathlib
import re

import pytest

from jaxedit.config import (
    EDITAR_PRESETS,
    OFFICIAL,
    PRESETS,
    ConfigError,
    PretrainedConfig,
    families,
    settings_of,
)
from jaxedit.config.families import BY_TYPE, FAMILIES, family_of, require_purpose, sizes_of
from jaxedit.config.family import load

INFINITY = OFFICIAL["infinity-2b"].config


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_all_that_an_entry_names_is_there(family):
    values = [
        getattr(part, field.name)
        for part in (family, family.weights)
        for field in dataclasses.fields(part)
    ]
    places = [v for v in values if isinstance(v, str) and re.fullmatch(r"jaxedit[\w.]+:\w+", v)]
    assert len(places) >= (3 if family.purpose else 1) and all(
        load(place) is not None for place in places
    )
    assert set(family.parts) <= {field.name for field in dataclasses.fields(PretrainedConfig)}
    if family.purpose:
        assert family.methods and family.pipeline and family.memory and family.reads


def test_families_of_one_type_are_told_by_their_settings():
    names = {name: family_of(release.config).name for name, release in OFFICIAL.items()}
    assert names["varedit-2b-512"] == "varedit" and names["infinity-2b"] == "infinity"
    assert names["editar-512"] == "editar" and names["llamagen-t2i-xl-512"] == "llamagen"
    assert names["llamagen-c2i-b-256"] == "llamagen-class"
    assert sizes_of(INFINITY) is INFINITY.varedit


@pytest.mark.parametrize(
    ("config", "purpose", "message"),
    [
        (PretrainedConfig(model_type="vq"), "edit", "'vq': expected an editor, one of varedit"),
        (
            PretrainedConfig(model_type="t5"),
            "draw",
            "'t5': expected a model that draws, one of i",
        ),
        (INFINITY, "edit", "type infinity draws a picture from a text: jaxedit.Generator, or pyth"),
        (OFFICIAL["llamagen-c2i-b-256"].config, "edit", "draws a picture from a class"),
        (PRESETS["2b"], "draw", "type varedit edits pictures: jaxedit.Editor, or python -m jaxedi"),
        (EDITAR_PRESETS["xl"], "draw", "type editar edits pictures"),
    ],
)
def test_the_wrong_purpose_is_told_the_right_command(config, purpose, message):
    with pytest.raises(ConfigError, match=message):
        require_purpose(config, purpose)


def test_options_are_those_of_the_purpose():
    with pytest.raises(ConfigError, match="top_k=3: an option of method llamagen, found infinity"):
        settings_of(INFINITY, None, {"top_k": 3})
    with pytest.raises(ConfigError, match="guidance_mode='dual': expected 'text', for a model"):
        settings_of(OFFICIAL["llamagen-t2i-xl-512"].config, None, {"guidance_mode": "dual"})
    (sample,) = settings_of(INFINITY, None, {"guidance": 2.0})
    assert (sample.guidance, sample.temperature) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("method", "has_task", "name"),
    [
        (None, False, "toy-varedit"),
        (None, True, "toy-editar"),
        ("editar+erec", False, "toy-editar"),
        ("varedit", False, "toy-varedit"),
        ("unknown", False, "toy-varedit"),
    ],
)
def test_the_bundled_model(method, has_task, name):
    assert families.bundled(method, has_task=has_task) == name


PACKAGE = pathlib.Path(families.__file__).parents[1]
# What only some families have. Each may be asked for in the modules of its own family.
OWN = {
    "prefix": "editar|memory_phases|next_token|decode_weights|rope|flops|tokens",
    "conditioning": "varedit|flops|models",
}


def compared_names(path: pathlib.Path) -> list[tuple[str, int]]:
    """Return (attribute, line) where a module compares it with a text or tests its truth value."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            texts = [n for s in sides for n in ast.walk(s) if isinstance(n, ast.Constant)]
            if any(isinstance(n.value, str) or n.value is None for n in texts):
                found += [(s.attr, s.lineno) for s in sides if isinstance(s, ast.Attribute)]
        elif isinstance(node, ast.If | ast.IfExp) and isinstance(node.test, ast.Attribute):
            found.append((node.test.attr, node.lineno))
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_no_other_module_asks_for_the_family(path):
    if path.name == "families.py":
        return
    for name, line in compared_names(path):
        assert name != "model_type" and name not in BY_TYPE, f"{path}:{line}: asks for {name}"
        is_own = name not in OWN or re.search(OWN[name], path.stem)
        assert is_own, f"{path}:{line}: asks for {name}"
