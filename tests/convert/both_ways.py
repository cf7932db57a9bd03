"""The demands on every key map: complete in both directions, lazy, and exact to the bit."""

import jax
import ml_dtypes
import numpy as np

from jaxedit import tree
from jaxedit.convert.keymaps.keymap import assemble, to_torch

DTYPES = (np.float32, ml_dtypes.bfloat16)


def shapes_of(arrays):
    """Shapes by name of a tree or a dict of arrays."""
    return {name: tuple(array.shape) for name, array in tree.flatten(arrays).items()}


def made_shapes(make, *args):
    """Return the shapes by path of the parameters of `make(*args)`."""
    return shapes_of(jax.eval_shape(make, *args))


def blank(shapes):
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def random_state(keymap, expected, dtype=np.float32):
    """A state dict with random bits, by the published names, of a model of these shapes."""
    rng, state = np.random.default_rng(0), {}
    for key, view in to_torch(keymap, blank(expected)).items():
        bits = rng.bytes(view.size * np.dtype(dtype).itemsize)
        state[key] = np.frombuffer(bits, dtype).reshape(view.shape)
    return state


def assert_complete(keymap, published, expected, *, ignored=()):
    """The published keys fill a model of the shapes `expected`, which gives them back."""
    found = assemble(keymap, blank(published), expected)
    assert shapes_of(found) == expected
    assert shapes_of(assemble(keymap, blank(published))) == expected
    kept = {key: tuple(shape) for key, shape in published.items() if key not in ignored}
    assert shapes_of(to_torch(keymap, found)) == kept


def assert_exact(keymap, expected):
    """Random bits survive the way through the parameters, read at once and piece by piece."""
    for dtype in DTYPES:
        state = random_state(keymap, expected, dtype)
        found = assemble(keymap, state, expected)
        params = {path: array[...] for path, array in found.items()}
        assert shapes_of(params) == expected
        for path, array in found.items():
            pieces = b"".join(piece.tobytes() for piece in array.chunks())
            assert pieces == params[path].tobytes(), path
        for back in (to_torch(keymap, params), to_torch(keymap, found)):
            assert list(back) == list(state)
            for key, array in back.items():
                assert array.dtype == dtype and array.shape == state[key].shape
                assert array[...].tobytes() == state[key].tobytes(), key
