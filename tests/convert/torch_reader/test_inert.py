"""Values of any class beside the weights: read past, never made; but not in place of a weight."""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import types
import uuid

import numpy as np
import pytest
import torch_writer
from attack import harmless
from ml_dtypes import bfloat16
from torch_writer import Made

from jaxedit.convert.state_dict import open_state
from jaxedit.convert.torch_reader.inert import Inert, plain
from jaxedit.convert.torch_reader.torch_file import read_index

WEIGHTS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.ones(2, "f4")}


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    path: pathlib.Path = pathlib.Path("/x")
    colour: Color = Color.RED


Point = collections.namedtuple("Point", "x y")
ITSELF: list = []
ITSELF.append((ITSELF, {1: ITSELF}))

BESIDE = {
    "bytes": [b"", b"\x00\xff", b"long" * 99, bytearray(b"xyz"), bytearray(b"x" * 300)],
    "numpy numbers": [np.float64(1.5), np.int64(-7), np.bool_(True), np.complex64(2j)],
    "numpy texts": [np.str_("a"), np.bytes_(b"b"), np.datetime64("2020-01-01")],
    "numpy arrays": [np.arange(6.0).reshape(2, 3), np.arange(3, dtype=">i4"), np.ones(0)],
    "more numpy arrays": [np.array([1, "a", None], object), np.asfortranarray(np.ones((2, 2)))],
    "numpy types": [np.dtype("f4"), np.dtype([("a", "i4")]), np.dtype(bfloat16), np.float32],
    "numpy random": [np.random.default_rng(0), np.random.RandomState(1).get_state()],
    "paths": [pathlib.Path("/a/b"), pathlib.PurePosixPath("c"), pathlib.PureWindowsPath("d")],
    "dicts": [
        collections.defaultdict(list, {"a": [1]}),
        collections.defaultdict(dict),
        collections.Counter("aab"),
        collections.OrderedDict(a=1),
    ],
    "sequences": [collections.deque([1, 2], maxlen=5), range(3), slice(1, 2), Point(1, 2)],
    "sets": [{1, 2, 3}, frozenset("ab"), set(), frozenset()],
    "times": [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(3)],
    "settings": [argparse.Namespace(a=1, b=Options()), types.SimpleNamespace(a=2), Options()],
    "members": [Color.RED, {Color.RED: 1, (1, 2): 2, b"k": 3, 1.5: 4, None: 5, frozenset("a"): 6}],
    "functions": [functools.partial(int, base=2), print, dict, len, np.sum, Color],
    "numbers": [1 + 2j, decimal.Decimal("1.5"), fractions.Fraction(1, 3), 10**300, -(1 << 3000)],
    "a huge number": [1 << 99999],
    "others": [uuid.UUID(int=5), ValueError("x"), Ellipsis, NotImplemented],
    "itself": [ITSELF],
    "half a surrogate pair": ["\ud800"],
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", BESIDE)
def test_anything_may_lie_beside_the_weights(tmp_path, name, protocol):
    path = tmp_path / "run.ckpt"
    torch_writer.save_with_python(path, WEIGHTS, BESIDE[name], protocol)
    with harmless(tmp_path):
        arrays = {key: array[...] for key, array in open_state(path).arrays.items()}
    assert arrays.keys() == WEIGHTS.keys()
    for key, array in WEIGHTS.items():
        assert np.array_equal(arrays[key], array)


def omegaconf(value):
    """Settings as OmegaConf 2 pickles them."""
    node = "AnyNode"
    attributes = {"_metadata": Made("omegaconf.base", "Metadata", (), {"key": "x"})}
    if isinstance(value, dict):
        node = "DictConfig"
        attributes["_content"] = {key: omegaconf(part) for key, part in value.items()}
    elif isinstance(value, list):
        node, attributes["_content"] = "ListConfig", [omegaconf(part) for part in value]
    else:
        attributes["_val"] = value
    module = {"AnyNode": "nodes", "DictConfig": "dictconfig", "ListConfig": "listconfig"}[node]
    return Made(f"omegaconf.{module}", node, (), attributes)


def number(module, kind, data):
    return Made(module, "scalar", (Made("numpy", "dtype", (kind, False, True)), data))


def test_settings_of_a_run_are_plain(tmp_path):
    settings = {"rate": 0.1, "sizes": [1, 2, {"name": None}], "is_fast": True}
    numbers = {
        "a": number("numpy.core.multiarray", "f4", b"\0\0\x80?"),
        "b": number("numpy._core.multiarray", "i8", b"\xff" * 8),
        "c": number("numpy._core.multiarray", "O8", b"\xff" * 8),
        "d": number("numpy._core.multiarray", "f8", b"\xff"),
        "e": Made("somewhere", "Thing"),
    }
    for args, expected in (
        (omegaconf(settings), settings),
        (argparse.Namespace(inner=omegaconf(settings)), {"inner": settings}),
        (numbers, {"a": 1.0, "b": -1, "c": None, "d": None, "e": None}),
    ):
        torch_writer.save(tmp_path / "run.pt", {"model": WEIGHTS, "args": args})
        assert open_state(tmp_path / "run.pt").settings == expected


def test_settings_without_end_are_cut():
    endless = {}
    endless["inner"] = endless
    shown = str(plain(endless))
    assert shown.endswith("{'inner': None}" + "}" * 32)


@pytest.mark.parametrize(
    ("weight", "name"),
    [
        (Made("my.layers", "Packed", (np.ones(3, np.int8),)), "my.layers.Packed"),
        (Made("torch._utils", "_rebuild_qtensor", ()), "torch._utils._rebuild_qtensor"),
        (Made("numpy.core.multiarray", "_reconstruct", (0,)), "numpy.core.multiarray"),
        (Made("os", "system", ("true",)), "os.system"),
    ],
)
@pytest.mark.parametrize("key", ["b.weight", "blocks.0.scale", "weight", "bias"])
def test_weights_of_unknown_classes_are_refused_by_name(tmp_path, weight, name, key):
    torch_writer.save(tmp_path / "f.pt", {"model": {**WEIGHTS, key: weight}})
    with harmless(tmp_path), pytest.raises(ValueError, match=f"refused: it needs '{name}") as told:
        open_state(tmp_path / "f.pt")
    assert "\n" not in str(told.value)


def test_what_holds_a_tensor_is_a_weight_under_any_name(tmp_path):
    packed = Made("my.layers", "Packed", ({"inner": [np.ones(3, np.int8)]},))
    torch_writer.save(tmp_path / "f.pt", {**WEIGHTS, "q": packed})
    with pytest.raises(ValueError, match=r"refused: it needs 'my\.layers\.Packed'"):
        open_state(tmp_path / "f.pt")
    torch_writer.save(tmp_path / "f.pt", {**WEIGHTS, "a._extra_state": Made("io", "BytesIO")})
    assert open_state(tmp_path / "f.pt").arrays.keys() == WEIGHTS.keys()


def test_a_whole_module_is_refused_by_its_class(tmp_path):
    module = Made("my.models", "Net", (), {"training": True, "_parameters": WEIGHTS})
    torch_writer.save(tmp_path / "f.pt", {"epoch": 3, "model": module})
    message = r"found no weights, but epoch, model; refused: it needs 'my.models.Net'"
    with pytest.raises(ValueError, match=message):
        open_state(tmp_path / "f.pt")
    assert isinstance(read_index(tmp_path / "f.pt")["model"], Inert)


@pytest.mark.parametrize("kind", ["torch Tensor", "torch.nn.parameter Parameter", "my Tensor"])
def test_tensors_with_attributes(tmp_path, kind):
    program = b"\x80\x02}X\1\0\0\0wctorch._tensor\n_rebuild_from_type_v2\n("
    program += b"ctorch._utils\n_rebuild_tensor_v2\n"
    program += f"c{kind.replace(' ', chr(10))}\n".encode()
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuK\2tQ"
    program += b"(" + storage + b"K\0K\2\x85K\1\x85\x89}t}tRs."
    members = {"a/data.pkl": program, "a/data/0": np.ones(2, "f4")}
    torch_writer.write_zip(tmp_path / "f.pt", members)
    if kind.startswith("torch"):
        assert open_state(tmp_path / "f.pt").arrays["w"][...].tolist() == [1, 1]
    else:
        with pytest.raises(ValueError, match="refused: it needs 'my.Tensor'"):
            open_state(tmp_path / "f.pt")
