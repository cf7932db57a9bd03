"""The comments of settings, read from the source of their dataclasses for help texts and docs."""

import ast
import dataclasses
import functools
import inspect
import io
import sys
import tokenize
from collections.abc import Sequence


@functools.cache
def comments_of(cls: type) -> dict[str, str]:
    """Return the comment of every field of a dataclass, "" where there is none.

    A comment stands at the end of the field's own lines, or on the lines directly above the field.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            found |= _own_comments(base)
    return found


def _own_comments(cls: type) -> dict[str, str]:
    """Return the comments of the fields that a dataclass does not inherit."""
    lines, classes = _parsed(cls.__module__)
    found = {}
    for node in classes[cls.__name__].body:
        if isinstance(node, ast.AnnAssign):
            comments = _inside(node, lines) or _above(node.lineno, lines)
            found[node.target.id] = " ".join(text.lstrip("# ").strip() for text in comments)
    return found


@functools.cache
def _parsed(module: str) -> tuple[list[str], dict[str, ast.ClassDef]]:
    """Return the lines of a module and its classes by name."""
    text = inspect.getsource(sys.modules[module])
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    return text.splitlines(keepends=True), classes


def _inside(node: ast.AnnAssign, lines: Sequence[str]) -> list[str]:
    """Return the comments between the first and the last line of a field."""
    own = lines[node.lineno - 1 : node.end_lineno]
    if len(own) == 1:  # nearly every field; tokens take ten times as long
        rest = own[0].encode()[node.end_col_offset :].decode().strip()
        return [rest] if rest else []
    tokens = tokenize.generate_tokens(io.StringIO("".join(own)).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def _above(line: int, lines: Sequence[str]) -> list[str]:
    """Return the lines directly above a line, counted from 1, that contain only a comment."""
    first = line - 1
    while lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return list(lines[first : line - 1])
