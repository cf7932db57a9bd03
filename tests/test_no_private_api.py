"""The package reads nothing that a release of jax, flax or optax may rename at will."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(
    path for part in ("jaxedit", "benchmarks", "configs") for path in (ROOT / part).rglob("*.py")
)
PRIVATE = {
    "modules that are not API": r"\b(?:jax|jaxlib|flax|optax|orbax)(?:\.\w+)*\._(?!_)\w",
    "the compiler's own bindings": r"\bjaxlib\.(?!__)|from jaxlib|\bxla_client\b|jax\.lib\b",
    "equations of a traced program": r"\bmake_jaxpr\b|\.eqns?\b|\.jaxpr\b|\bJaxpr(?:Eqn)?\b"
    r"|jax\.(?:extend\.)?core\b|from jax\.extend\b|from jax import core\b",
    "parameters of primitives": r"\bparams\[[\"'](?:num_|jaxpr|call_jaxpr|branches|length|linear)"
    r"|\bnum_(?:consts|carry)\b",
}


def found_in(text):
    """What kinds of private API a text uses."""
    return [kind for kind, pattern in PRIVATE.items() if re.search(pattern, text)]


def test_no_file_uses_private_api():
    assert len(FILES) > 200
    assert not [
        f"{path.relative_to(ROOT)}:{number}: {found_in(line)}"
        for path in FILES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if found_in(line)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "from jax._src import core",
        "import jax._src.mesh as mesh",
        "flax.core._frozen.freeze(x)",
        "from flax.linen._internal import thing",
        "optax._src.base.Params",
        "from jaxlib import xla_client",
        "jax.lib.xla_bridge.get_backend()",
        "jax.make_jaxpr(f)(x)",
        "for equation in program.eqns:",
        "traced.jaxpr",
        "from jax.extend import core",
        "jax.extend.core.Literal",
        "jax.core.Jaxpr",
        "from jax import core",
        'equation.params["num_consts"]',
        "equation.params['jaxpr']",
        "first = num_carry + 1",
    ],
)
def test_private_api_is_recognised(line):
    assert found_in(line)


@pytest.mark.parametrize(
    "line",
    [
        "from jax.experimental import topologies",
        "import jax.numpy as jnp",
        'params["transformer"]["blocks"]',
        "jax.__version__, jaxlib.__version__",
        "flax.core.freeze(x)",
        "the core of jax",
        "compiled.cost_analysis()",
    ],
)
def test_public_api_is_not(line):
    assert not found_in(line)
