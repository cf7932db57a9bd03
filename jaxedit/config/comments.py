"""The comments of settings, read from the source of their dataclasses for help texts and docs."""

import ast
import dataclasses
import functools
import inspect
import io
import textwrap
import tokenize


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
    source = textwrap.dedent(inspect.getsource(cls))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
    found = {}
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign):
            lines = [n for n in range(node.lineno, node.end_lineno + 1) if n in comments]
            lines = lines or _above(node.lineno, comments)
            words = (comments[n].string.lstrip("# ").strip() for n in lines)
            found[node.target.id] = " ".join(words)
    return found


def _above(line: int, comments: dict[int, tokenize.TokenInfo]) -> list[int]:
    """Return the numbers of the lines directly above `line` that contain only a comment."""
    first = line
    while (above := comments.get(first - 1)) and not above.line[: above.start[1]].strip():
        first -= 1
    return list(range(first, line))
