import jax.numpy as jnp
import numpy as np

from jaxedit import tree

NESTED = {"b": {"y": 1, "x": {"kernel": 2}}, "a": 3, "empty": {}}
FLAT = {"b/y": 1, "b/x/kernel": 2, "a": 3}


def test_paths_in_the_order_of_the_tree():
    assert list(tree.flatten(NESTED).items()) == list(FLAT.items())
    assert list(tree.unflatten(FLAT)) == ["b", "a"]
    assert tree.unflatten(FLAT) == {"b": {"y": 1, "x": {"kernel": 2}}, "a": 3}


def test_functions_of_paths():
    found = tree.map_with_path(lambda path, leaf: f"{path}={leaf}", {"b": {"y": 1}, "a": 3})
    assert found == {"b": {"y": "b/y=1"}, "a": "a=3"}


def test_only_floats_are_cast():
    cast = tree.cast({"w": jnp.ones(3), "n": jnp.arange(3)}, "bfloat16")
    assert cast["w"].dtype == jnp.bfloat16 and cast["n"].dtype == np.int32
    assert tree.count(cast) == 6
