import codecs
import json

import pytest

from jaxedit.data import json_lines

GOOD = '{"a": "x"}'


def read(tmp_path, data):
    path = tmp_path / "list.jsonl"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return json_lines.read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, encoding, end):
    text = end.join(['{"a": "größer ☃"}', "", " \t", '{"a": "\U0001f9e1"}'])
    lines = read(tmp_path, text.encode(encoding))
    assert [(line.number, line.values["a"]) for line in lines] == [
        (1, "größer ☃"),
        (4, "\U0001f9e1"),
    ]


@pytest.mark.parametrize("order", ["le", "be"])
def test_both_byte_orders(tmp_path, order):
    mark = {"le": codecs.BOM_UTF16_LE, "be": codecs.BOM_UTF16_BE}[order]
    assert read(tmp_path, mark + GOOD.encode(f"utf-16-{order}"))[0].values == {"a": "x"}


def test_marks_of_joined_files(tmp_path):
    one = codecs.BOM_UTF8 + GOOD.encode() + b"\n"
    assert [line.error for line in read(tmp_path, one * 3)] == ["", "", ""]


@pytest.mark.parametrize("letter", "\u2028\u2029\u0085\x0b\x0c\x1c\x1e")
def test_separators_inside_a_text_end_no_line(tmp_path, letter):
    line = json.dumps({"a": f"x{letter}y"}, ensure_ascii=letter < " ")
    lines = read(tmp_path, f"{line}\n{line}")
    assert [found.values["a"] for found in lines] == [f"x{letter}y"] * 2


@pytest.mark.parametrize(
    "line, error",
    [
        (b"{", "not JSON: Expecting property name"),
        (b'{"a": "x', "not JSON: Unterminated string"),
        (b"[1]", "expected a JSON object"),
        (b'{"a": "x", "a": "y"}', "'a' occurs twice"),
        (b'{"a": NaN}', "not JSON: NaN"),
        (b'{"a": [-Infinity]}', "not JSON: -Infinity"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b'{"a": ' + b"[" * 200_000, "not JSON: nested too deeply"),
        (b'{"a": "caf\xe9"}', "byte 11 is not text in UTF-8"),
        (b'{"a": "\\ud83d"}', "not a whole character"),
        (b'{"a": "\\udd34 x"}', "not a whole character"),
        (b'{"\\ud83d": "x"}', "not a whole character"),
        (b'{"b": [{"c": "x\\ud83d"}]}', "not a whole character"),
        (b'{"a": "x\\u0000y"}', "not a whole character"),
        (b"\0", "not JSON"),
    ],
)
def test_a_damaged_line_is_an_error_of_that_line(tmp_path, line, error):
    lines = read(tmp_path, GOOD.encode() + b"\n" + line + b"\n" + GOOD.encode())
    assert [bool(found.error) for found in lines] == [False, True, False]
    assert lines[1].number == 2 and error in lines[1].error and not lines[1].values


def test_damage_in_utf_16(tmp_path):
    good, bad = GOOD.encode("utf-16-le"), b'{\0"\0\x3d\xd8"\0:\x001\0}\0'
    end = b"\n\0"
    lines = read(tmp_path, codecs.BOM_UTF16_LE + good + end + bad + end + good + end + b"{")
    assert [bool(line.error) for line in lines] == [False, True, False, True]


def test_files_without_lines(tmp_path):
    for data in (b"", b"\n \r\n", codecs.BOM_UTF8, codecs.BOM_UTF16_LE):
        with pytest.raises(ValueError, match="expected lines of JSON, found none"):
            json_lines.require_some("list.jsonl", read(tmp_path, data))
    with pytest.raises(ValueError, match="found none; line 1: byte 1 is not text"):
        json_lines.require_some("list.jsonl", read(tmp_path, b"\x89PNG\r\n\x1a\n"))
    with pytest.raises(OSError, match="absent.jsonl: No such file"):
        json_lines.read(tmp_path / "absent.jsonl")
    with pytest.raises(OSError, match="Is a directory"):
        json_lines.read(tmp_path)
