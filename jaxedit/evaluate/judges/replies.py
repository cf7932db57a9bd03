"""The numbers in the replies of judges."""

import re

from jaxedit.chat.messages import without_reasoning

_KEY = re.compile(r"""score["']?\s*:\s*""")
_LIST = re.compile(r"\[([^\[\]]*)\]")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def read_pair(reply: str) -> tuple[float, ...] | None:
    """Return the two scores in [0,10] of a reply such as {"score": [8, 7], "reasoning": "..."}.

    The list counts that directly follows the first key "score", or without such a key the first
    list. The rest need not be JSON: models leave out quotes and echo doubled braces.

    Returns:
      None if there are not exactly two numbers in the range; nothing is guessed.
    """
    text = without_reasoning(reply)
    key = _KEY.search(text)
    found = _LIST.match(text, key.end()) if key else _LIST.search(text)
    items = found[1].strip().removesuffix(",").split(",") if found else []
    words = [item.strip().strip("\"'") for item in items]
    numbers = tuple(float(word) for word in words if _NUMBER.fullmatch(word))
    is_pair = len(words) == len(numbers) == 2 and max(numbers) <= 10
    return numbers if is_pair else None


def read_lines(reply: str) -> tuple[float, ...] | None:
    """Return the scores in [1,5] of a reply of lines such as "Visual Naturalness: 4".

    Lines with other values are skipped, as in ImgEdit-Bench's own program.

    Returns:
      None if no line has a score, or if a score is out of range.
    """
    parts = [line.split(":") for line in without_reasoning(reply).splitlines()]
    values = [part[1].strip(" *") for part in parts if len(part) == 2]
    numbers = tuple(float(value) for value in values if re.fullmatch("[0-9]+", value))
    return numbers if numbers and all(1 <= number <= 5 for number in numbers) else None
