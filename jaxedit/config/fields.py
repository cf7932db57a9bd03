"""Field types that carry the choices and ranges of settings, and the check of all fields.

A setting is written once: `noise: Literal["shared", "independent"]` or
`top_p: Annotated[float, Interval("(0, 1]")]`. `check_fields` and the options of the commands read
these annotations.
"""

import dataclasses
import functools
import math
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from jaxedit.config.checks import require

_WORDS = {
    "(0, inf)": "a positive number",
    "[1, inf)": "a positive number",
    "[0, inf)": "a number of 0 or more",
    "(-inf, inf)": "a finite number",
    "[-inf, inf]": "a number",
}


@dataclasses.dataclass(frozen=True)
class Interval:
    """A range of numbers in mathematical notation: "(0, 1]" is 0 < x <= 1."""

    text: str

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the lower and the upper bound."""
        low, high = self.text[1:-1].split(",")
        return float(low), float(high)

    def __contains__(self, value: Any) -> bool:
        """Tell whether `value` is a number in the range; True, False and NaN are not numbers."""
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return False
        low, high = self.bounds
        above = low <= value if self.text[0] == "[" else low < value
        below = value <= high if self.text[-1] == "]" else value < high
        return above and below

    def __str__(self) -> str:
        """Describe the range in words."""
        return _WORDS.get(self.text, f"a number in {self.text}")


Positive = Annotated[float, Interval("(0, inf)")]
PositiveInt = Annotated[int, Interval("[1, inf)")]
NonNegative = Annotated[float, Interval("[0, inf)")]
NonNegativeInt = Annotated[int, Interval("[0, inf)")]
Share = Annotated[float, Interval("[0, 1)")]  # a probability that is never certain
Probability = Annotated[float, Interval("[0, 1]")]
Finite = Annotated[float, Interval("(-inf, inf)")]
Threshold = Annotated[float, Interval("[-inf, inf]")]


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Return the annotations of a dataclass's fields, with their ranges."""
    return get_type_hints(cls, include_extras=True)


def choices_of(hint: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`, else nothing."""
    return get_args(hint) if get_origin(hint) is Literal else ()


def interval_of(hint: Any) -> Interval | None:
    """Return the range of an annotation, also of the numbers in a tuple, or None."""
    if isinstance(hint, Interval):
        return hint
    parts = getattr(hint, "__metadata__", ()) or get_args(hint)
    return next((found for found in map(interval_of, parts) if found), None)


def is_whole(hint: Any) -> bool:
    """Tell whether an annotation allows only whole numbers."""
    return get_args(hint)[:1] == (int,) if get_origin(hint) is Annotated else hint is int


def check_fields(settings: Any, name: str = "") -> None:
    """Check every field of a dataclass against its annotation; nested dataclasses are not checked.

    Args:
      name: name of the settings in messages, for example "sample"; empty: only fields are named.

    Raises:
      ConfigError: a value is not among the choices, or outside the range.
    """
    for field, hint in hints_of(type(settings)).items():
        check_value(getattr(settings, field), hint, f"{name}.{field}" if name else field)


def check_value(value: Any, hint: Any, name: str) -> None:
    """Check a value against an annotation; raise ConfigError with `name` if it does not fit."""
    if choices := choices_of(hint):
        *most, last = (str(choice) or "nothing" for choice in choices)
        words = f"{', '.join(most)} or {last}" if most else last
        require(value in choices, f"{name}={value!r}: expected {words}")
    elif interval := interval_of(hint):
        may_be_several = any(get_origin(part) is tuple for part in (hint, *get_args(hint)))
        values = value if may_be_several and isinstance(value, tuple | list) else (value,)
        kind = str(interval).replace("number", "whole number") if is_whole(hint) else str(interval)
        fits = all(x in interval and (isinstance(x, int) or not is_whole(hint)) for x in values)
        require(fits and len(values) > 0, f"{name}={value!r}: expected {kind}")
