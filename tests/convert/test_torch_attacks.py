"""Pickles made to harm: each ends in a ValueError; nothing was run, and nothing else was read."""

import pathlib
import pickle

import pytest
import torch_writer
from attack import harmless, refuse_program, state, tensor, text

from jaxedit.convert.state_dict import open_state

NAMES = [
    "os system",
    "posix system",
    "nt system",
    "builtins eval",
    "builtins exec",
    "builtins getattr",
    "builtins __import__",
    "__builtin__ eval",
    "subprocess Popen",
    "pickle loads",
    "functools partial",
    "operator attrgetter",
    "importlib import_module",
    "codecs open",
    "shutil rmtree",
    "socket socket",
    "torch load",
    "torch.hub load",
    "torch.jit load",
    "torch.storage _load_from_bytes",
    "torch._utils _rebuild_tensor_v2.__globals__",
    "torch _utils._rebuild_tensor_v2",
    "torch._utils  _rebuild_tensor_v2",
    "torch._utils _import_dotted_name",
    "collections OrderedDict.fromkeys",
    "collections namedtuple",
    "argparse Namespace.__init__",
    "argparse FileType",
    "numpy.core.multiarray _reconstruct",
    "jaxedit.convert.torch_reader.torch_pickle load",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["GLOBAL", "STACK_GLOBAL", "NEWOBJ", "INST"])
def test_code_is_never_run(tmp_path, name, form):
    canary = tmp_path / "canary"
    module, attribute = name.split(" ", 1)
    argument = text(f"touch {canary}")
    found = f"c{module}\n{attribute}\n".encode()
    program = {
        "GLOBAL": found + argument + b"\x85R",
        "STACK_GLOBAL": text(module) + text(attribute) + b"\x93" + argument + b"\x85R",
        "NEWOBJ": found + argument + b"\x85\x81",
        "INST": b"(" + argument + f"i{module}\n{attribute}\n".encode(),
    }[form]
    refuse_program(tmp_path, state(program), "INST" if form == "INST" else r"refused: it needs '")
    assert not canary.exists()


class Reduced:
    """Pickles itself as a call."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "call", [(eval, "1"), (pathlib.Path, "/"), (print, "x"), (bytearray, 9**9)]
)
def test_pickles_of_python_itself(tmp_path, protocol, call):
    program = pickle.dumps({"weight": Reduced(*call)}, protocol)
    refuse_program(tmp_path, program, "refused|instruction|damaged pickle")


def test_a_settings_object_stays_a_dict(tmp_path):
    attributes = b"}(" + text("__class__") + text("x") + text("__setstate__") + text("y") + b"u"
    program = b"\x80\x02}(" + text("args") + b"cargparse\nNamespace\n)\x81" + attributes + b"b"
    program += text("weight") + tensor() + b"u."
    torch_writer.write_zip(tmp_path / "f.pt", {"a/data.pkl": program, "a/data/0": bytes(16)})
    with harmless(tmp_path):
        settings = open_state(tmp_path / "f.pt").settings
    assert type(settings) is dict and settings == {"__class__": "x", "__setstate__": "y"}


PROGRAMS = {
    "build a tensor": (state(tensor() + b"}b"), "attributes for a value that has none"),
    "build with slots": (state(b"cargparse\nNamespace\n)\x81}}\x86b"), "attributes"),
    "namespace of items": (state(b"cargparse\nNamespace\n](K\1K\2\x86e\x85R"), "damaged pickle"),
    "ordered dict of items": (state(b"ccollections\nOrderedDict\n]Na\x85R"), "damaged pickle"),
    "call a string": (state(text("os.system") + b")R"), "cannot be called"),
    "call a type": (state(b"ctorch\nFloatStorage\n)R"), "cannot be called"),
    "call with a list": (state(b"ctorch._utils\n_rebuild_tensor_v2\n]R"), "cannot be called"),
    "object": (state(b"(ctorch\nSize\no"), "the instruction OBJ"),
    "registry 1": (state(b"\x82\1"), "the instruction EXT1"),
    "registry 2": (state(b"\x83\1\1"), "the instruction EXT2"),
    "registry 4": (state(b"\x84\1\1\1\1"), "the instruction EXT4"),
    "new object with keywords": (
        state(b"ctorch\nSize\n)}NNs\x92"),
        "a call of a value that cannot",
    ),
    "text persistent id": (state(b"P/etc/passwd\n"), "the instruction PERSID"),
    "out of band": (state(b"\x97"), "the instruction NEXT_BUFFER"),
    "huge long": (state(b"\x8b\xff\xff\xff\x7f"), "."),
    "huge text": (state(b"X\xff\xff\xff\xffabc"), "."),
    "huge text of 8 bytes": (state(b"\x8d" + b"\xff" * 7 + b"\x7fabc"), "."),
    "huge bytes": (state(b"B\xff\xff\xff\x7fabc"), "."),
    "huge bytearray": (state(b"\x96" + b"\xff" * 7 + b"\x7f"), "."),
    "huge frame": (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f}", "."),
    "decimal of many digits": (state(b"I" + b"9" * 9999 + b"\n"), "."),
    "text that is no text": (state(b"X\2\0\0\0\xff\xfe"), "."),
    "memo far away": (state(b"}r\xff\xff\xff\xff"), "found no weights"),
    "memo of nothing": (state(b"h\7"), "damaged pickle: KeyError"),
    "key without end": (state(b")" + b"\x85" * 10000 + b"Nd"), "."),
    "nested key": (b"\x80\x02})" + b"\x85" * 10000 + b"Ns.", "found no weights"),
    "laughing key": (b"\x80\x02})" + b"q\0h\0\x86" * 100 + b"Ns.", "found no weights"),
    "laughing lists": (state(b"(]q\0" + b"](h\0h\0h\0eq\0" * 1500 + b"t"), "found no weights"),
    "nested lists": (state(b"]" * 3000 + b"a" * 2999), "found no weights"),
    "nested tuples": (state(b")" + b"\x85" * 10000), "found no weights"),
    "nested marks": (state(b"(" * 10000), "damaged pickle"),
    "itself": (b"\x80\x02}q\0" + text("model") + b"h\0s.", "found no weights under model/model"),
    "append to a dict": (state(b"}Na"), "no list"),
    "set in a list": (state(b"]NNs"), "no dict"),
    "odd entries": (state(b"}(Nu"), "."),
    "no mark": (b"\x80\x02Nt.", "damaged pickle: IndexError"),
    "empty": (b"", "."),
    "no end": (b"\x80\x02}", "."),
    "only an end": (b"\x80\x02.", "damaged pickle: IndexError"),
    "unknown instruction": (b"\x80\x02\xff.", "."),
    "not nested": (b"\x80\x02" + tensor() + b".", "found no weights, but a single tensor"),
    "a list": (b"\x80\x02](" + tensor() + b"e.", "found no weights, but list"),
    "nothing": (b"\x80\x02}.", "found no weights, but nothing"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_pickles_that_confuse(tmp_path, name):
    refuse_program(tmp_path, *PROGRAMS[name])


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**60},
        {"shape": (5,)},
        {"shape": (-4,)},
        {"shape": (2**62,)},
        {"shape": (2**40,), "strides": (0,)},
        {"shape": (2, 2)},
        {"shape": (2,) * 40, "strides": (0,) * 40},
        {"strides": (2,)},
        {"strides": (-1,)},
        {"strides": (2**62,)},
        {"strides": ()},
        {"size": 5},
        {"size": 3},
        {"size": -4},
        {"size": 2**62},
        {"size": b"N"},
        {"kind": "Double"},
        {"kind": "Half"},
        {"kind": "Quint8"},
        {"kind": "Float\nN0ctorch\nFloat"},
        {"key": "1"},
        {"key": "../data.pkl"},
        {"key": "../../../../etc/passwd"},
        {"key": "/etc/passwd"},
        {"key": b"K\0"},
        {"shape": text("4")},
        {"shape": b"]K\4a"},
        {"shape": b"}"},
        {"shape": b"\x88\x85"},
        {"shape": b"G\x40\x10\0\0\0\0\0\0\x85"},
        {"shape": tensor()},
        {"offset": b"N"},
    ],
    ids=lambda wrong: ",".join(f"{k}={str(v)[:20]!r}" for k, v in wrong.items()),
)
def test_tensors_that_do_not_fit_their_storage(tmp_path, wrong):
    refuse_program(tmp_path, state(tensor(**wrong)), ".")


def test_an_empty_tensor_may_begin_anywhere(tmp_path):
    program = state(tensor(offset=9, shape=(0, 3), strides=(1, 1)))
    torch_writer.write_zip(tmp_path / "f.pt", {"a/data.pkl": program, "a/data/0": bytes(16)})
    assert open_state(tmp_path / "f.pt").arrays["weight"][...].shape == (0, 3)
