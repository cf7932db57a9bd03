"""Files made to harm: each ends in a ValueError, and nothing was run, and nothing else was read.

An audit hook sees every file that is opened and every program that is started meanwhile.
"""

import contextlib
import pathlib
import pickle
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch_writer

from jaxedit.convert import torch_file, torch_pickle
from jaxedit.convert.state_dict import open_state
from jaxedit.convert.stored import Stored

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FORBIDDEN = ("exec", "compile", "import", "os.", "subprocess.", "socket.", "pickle.", "shutil.")
HARMLESS = ("os.listdir", "os.scandir")
seen: list[tuple[str, tuple]] | None = None  # what happens while a file is read


def _watch(event, arguments):
    if seen is not None and (event == "open" or event.startswith(FORBIDDEN)):
        seen.append((event, arguments))


sys.addaudithook(_watch)  # for good: Python has no way to remove one
"é".encode("cp437")  # zipfile would import it


@contextlib.contextmanager
def harmless(directory):
    """Nothing but files of `directory` is opened, and nothing is run."""
    global seen
    seen = []
    try:
        yield
    finally:
        events, seen = seen, None
    for event, arguments in events:
        if event == "open":
            assert pathlib.Path(arguments[0]).parent == directory, arguments
        else:
            assert event in HARMLESS, (event, arguments)


@contextlib.contextmanager
def frugal():
    """Little memory is taken."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def read_all(path):
    """Read as a conversion does, to the last number."""
    for array in open_state(path).arrays.values():
        array[...]


def refuse(path, message):
    with harmless(path.parent), frugal(), pytest.raises(ValueError, match=message) as caught:
        read_all(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))


def refuse_program(tmp_path, program, message, storage=bytes(16)):
    path = tmp_path / "file.pt"
    torch_writer.write_zip(path, {"a/data.pkl": program, "a/data/0": storage})
    refuse(path, message)


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def tensor(kind="Float", key="0", size=4, offset=0, shape=(4,), strides=(1,)):
    """Instructions that push a tensor; any argument may be given as instructions."""

    def push(value):
        if isinstance(value, bytes):
            return value
        if isinstance(value, tuple):
            return b"(" + b"".join(push(v) for v in value) + b"t"
        return (
            text(value)
            if isinstance(value, str)
            else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        )

    storage = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + push(key)
    storage += text("cpu") + push(size) + b"tQ"
    numbers = push(offset) + push(shape) + push(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers + b"\x89}tR"


def state(pushed):
    return b"\x80\x02}" + text("weight") + pushed + b"s."


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
    "jaxedit.convert.torch_pickle load",
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
    "build a tensor": (state(tensor() + b"}b"), "attributes for what has none"),
    "build with slots": (state(b"cargparse\nNamespace\n)\x81}}\x86b"), "attributes"),
    "namespace of items": (state(b"cargparse\nNamespace\n](K\1K\2\x86e\x85R"), "damaged pickle"),
    "ordered dict of items": (state(b"ccollections\nOrderedDict\n]\x85R"), "damaged pickle"),
    "call a string": (state(text("os.system") + b")R"), "cannot be called"),
    "call a type": (state(b"ctorch\nFloatStorage\n)R"), "cannot be called"),
    "call with a list": (state(b"ctorch._utils\n_rebuild_tensor_v2\n]R"), "cannot be called"),
    "object": (state(b"(ctorch\nSize\no"), "the instruction OBJ"),
    "registry 1": (state(b"\x82\1"), "the instruction EXT1"),
    "registry 2": (state(b"\x83\1\1"), "the instruction EXT2"),
    "registry 4": (state(b"\x84\1\1\1\1"), "the instruction EXT4"),
    "new object with keywords": (state(b"ctorch\nSize\n)}\x92"), "the instruction NEWOBJ_EX"),
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
    "nested key": (b"\x80\x02})" + b"\x85" * 10000 + b"Ns.", "keys that are no text"),
    "laughing key": (b"\x80\x02})" + b"q\0h\0\x86" * 100 + b"Ns.", "keys that are no text"),
    "laughing lists": (state(b"(]q\0" + b"](h\0h\0h\0eq\0" * 5000 + b"t"), "found no weights"),
    "nested lists": (state(b"]" * 10000 + b"a" * 9999), "found no weights"),
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
    "not nested": (b"\x80\x02" + tensor() + b".", "found no weights, but Stored"),
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


@pytest.mark.parametrize("limit", ["MAX_STEPS", "MAX_BYTES"])
def test_long_pickles(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(torch_pickle, limit, 1000)
    refuse_program(tmp_path, state(b"N" * 1100), "more than 1000|at most 1000")


def test_a_pickle_of_a_terabyte(tmp_path):
    hole = torch_writer.Virtual((1 << 40,), np.dtype(np.uint8))
    torch_writer.write_zip(tmp_path / "f.pt", {"a/data.pkl": hole})
    refuse(tmp_path / "f.pt", "data.pkl of 1099511627776 bytes: at most")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("member", ["a/data.pkl", "a/data/0"])
def test_zip_bombs(tmp_path, method, member):
    with zipfile.ZipFile(tmp_path / "f.pt", "w") as file:
        for name, data in (("a/data.pkl", state(tensor())), ("a/data/0", bytes(16))):
            bomb = name == member
            file.writestr(name, bytes(1 << 24) if bomb else data, method if bomb else None)
    refuse(tmp_path / "f.pt", "is compressed")


GOOD = {"a/data.pkl": state(tensor()), "a/data/0": bytes(16)}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "found|0 members|begins with"),
        ({"data.pkl": GOOD["a/data.pkl"]}, "0 members"),
        ({"../a/data.pkl": GOOD["a/data.pkl"]}, "0 members"),
        (GOOD | {"b/data.pkl": b""}, "2 members"),
        (GOOD | {"a/byteorder": b"big"}, "byte order b'big'"),
        ({"/data.pkl": GOOD["a/data.pkl"], "/data/0": bytes(16)}, "0 members"),
        ({"a/data.pkl": GOOD["a/data.pkl"]}, "storage '0' is not in the file"),
        ({**GOOD, "a/data/0": bytes(15)}, "15 bytes"),
    ],
)
def test_zips_with_other_members(tmp_path, members, message):
    torch_writer.write_zip(tmp_path / "f.pt", members)
    refuse(tmp_path / "f.pt", message)


def test_zips_whose_directory_lies(tmp_path):
    path = tmp_path / "f.pt"
    torch_writer.write_zip(path, GOOD)
    whole = path.read_bytes()
    start = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", start + 4)
    sizes = whole.index(struct.pack("<HH", 1, 24), second) + 4
    end64 = whole.index(b"PK\6\6")

    def change(at, data):
        path.write_bytes(whole[:at] + data + whole[at + len(data) :])

    change(sizes + 16, bytes(8))  # the storage begins where the pickle does
    refuse(path, "begins inside another member")
    change(sizes, struct.pack("<QQ", 1 << 40, 1 << 40))
    refuse(path, "cut short: its members exceed the file")
    change(sizes, struct.pack("<QQ", 1 << 40, 16))
    refuse(path, "is compressed")
    change(second + 8, b"\1")
    refuse(path, "twice or encrypted")
    change(second + 46, b"a/data.p")
    path.write_bytes(path.read_bytes())
    refuse(path, ".")
    change(start + 16, b"abcd")
    refuse(path, "the checksum of data.pkl differs")
    change(end64 + 40, struct.pack("<Q", 1 << 40))  # the size of the directory
    refuse(path, ".")
    change(whole.index(b"}X\6"), b"]")
    refuse(path, "the checksum of data.pkl differs")


def test_a_directory_of_gigabytes(tmp_path):
    path = tmp_path / "f.pt"
    hole = torch_writer.Virtual((1 << 33,), np.dtype(np.uint8))
    torch_writer.write_zip(path, {"a/data.pkl": hole})
    with path.open("r+b") as file:  # all of the hole becomes the directory
        end = path.stat().st_size
        file.seek(end - 22 - 20 - 56 + 40)
        file.write(struct.pack("<QQ", end - 98 - 100, 100))
    refuse(path, "a zip directory of")


def outcome(path):
    """None where a changed file can be read to the end, else the only errors that may come."""
    try:
        read_all(path)
    except (ValueError, OSError) as error:
        assert len(str(error)) < 2000
        return error
    return None


def test_files_cut_anywhere(tmp_path):
    path = tmp_path / "f.pt"
    whole = (GOLDEN / "torch_run.pt").read_bytes()
    with harmless(tmp_path):
        for end in [*range(0, len(whole), 23), len(whole) - 1]:
            path.write_bytes(whole[:end])
            assert outcome(path) is not None, end


def test_files_with_flipped_bits(tmp_path):
    path = tmp_path / "f.pt"
    whole = (GOLDEN / "torch_run.pt").read_bytes()
    expected = {k: v.shape for k, v in open_state(GOLDEN / "torch_run.pt").arrays.items()}
    generator = np.random.default_rng(0)
    with harmless(tmp_path):
        for position in generator.choice(len(whole), 400, replace=False):
            changed = bytearray(whole)
            changed[position] ^= 1 << generator.integers(8)
            path.write_bytes(changed)
            if outcome(path) is None:  # it was in the numbers, or in what nobody reads
                assert {k: v.shape for k, v in open_state(path).arrays.items()} == expected


def test_pickles_with_changed_bytes(tmp_path):
    path = tmp_path / "f.pt"
    with zipfile.ZipFile(GOLDEN / "torch_run.pt") as file:
        members = {name: file.read(name) for name in file.namelist()}
    generator = np.random.default_rng(1)
    with harmless(tmp_path):
        for _ in range(300):
            program = bytearray(members["torch_run/data.pkl"])
            for position in generator.integers(len(program), size=generator.integers(1, 6)):
                program[position] = generator.integers(256)
            torch_writer.write_zip(path, members | {"torch_run/data.pkl": bytes(program)})
            outcome(path)


def test_random_programs(tmp_path):
    whole = [tensor(), b"ccollections\nOrderedDict\n", b"cargparse\nNamespace\n", text("model")]
    pieces = [*(bytes([b]) for b in b"()]}NtRabseuQ\x81\x85\x86\x87\x88\x94\x93K0h2"), *whole]
    generator = np.random.default_rng(2)
    with harmless(tmp_path):
        for _ in range(500):
            chosen = generator.integers(len(pieces), size=generator.integers(1, 40))
            names = {"torch Size": torch_pickle.Builder(lambda *a: a)}
            archive = torch_file._Archive(tmp_path, 999, {"a/data.pkl": (0, 0, 0)})
            archive.members["a/data/0"] = torch_file.Member(0, 16, 0)
            with contextlib.suppress(ValueError):
                program = b"\x80\x02" + b"".join(pieces[i] for i in chosen) + b"."
                torch_pickle.load(program, archive.names() | names, archive.storage)


def test_what_is_no_file(tmp_path):
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    (tmp_path / "dangling.pt").symlink_to(tmp_path / "nothing")
    (tmp_path / "endless.pt").symlink_to("/dev/zero")
    for name in ("loop.pt", "dangling.pt", "absent.pt"):
        with pytest.raises(OSError, match=name):
            open_state(tmp_path / name)
    with pytest.raises(ValueError, match="not a PyTorch file"):
        open_state(tmp_path / "endless.pt")
    assert isinstance(open_state(GOLDEN / "torch_run.pt").arrays["a.bias"], Stored)
