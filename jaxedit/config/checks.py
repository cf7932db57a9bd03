"""The error for a wrong setting, and the checks that several settings share."""

from collections.abc import Sequence

INT8 = ("t5", "transformer")  # networks whose large kernels can be 8-bit integers
MAX_FEATHER = 254  # pixels of the seam inside a mask
FITS = ("pad", "crop")  # how pictures become squares, see data.transforms


class ConfigError(ValueError):
    """A setting has a value that cannot work; the message names it and the expected values."""


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_int8(networks: Sequence[str]) -> None:
    """Raise ConfigError unless all of these networks can have 8-bit kernels."""
    given, names = ",".join(networks), ", ".join(INT8)
    require(set(networks) <= set(INT8), f"int8={given}: expected some of {names}")


def require_fit(fit: str) -> None:
    """Raise ConfigError unless `fit` is a way to make squares of pictures."""
    require(fit in FITS, f"fit={fit!r}: expected {' or '.join(FITS)}")


def require_feather(feather: int | None) -> None:
    """Raise ConfigError unless `feather` is None or 0 to 254 pixels."""
    whole = hasattr(feather, "__index__") and not isinstance(feather, bool)
    require(
        feather is None or (whole and 0 <= feather <= MAX_FEATHER),
        f"feather={feather!r}: expected 0 to {MAX_FEATHER} pixels",
    )


def require_words(text: object, name: str) -> None:
    """Raise ConfigError, which calls the text `name`, unless something in it can be seen."""
    is_seen = isinstance(text, str) and any(c.isprintable() and not c.isspace() for c in text)
    require(is_seen, f"{name}={text!r}: expected some words")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name}={text!r}: half a surrogate pair in it") from error


def require_seed(seed: int) -> None:
    """Raise `ConfigError` unless `seed` is a whole number from 0 to 2**31 - 1."""
    whole = hasattr(seed, "__index__") and not isinstance(seed, bool)
    require(whole and 0 <= seed < 2**31, f"seed={seed!r}: expected 0 to {2**31 - 1}")
