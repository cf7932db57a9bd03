"""Progress bars on stderr, by tqdm."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tqdm

SECONDS = 60  # between two lines if stderr is no terminal; shorter work prints nothing
LINE = "{desc}: {n_fmt} of {total_fmt} after {elapsed}, {remaining} to go\n"


def progress_bar(
    name: str = "", total: int | None = None, *, unit: str = "rows", disable: bool = False
) -> "tqdm.tqdm":
    """Return a bar that is redrawn in place on a terminal; elsewhere it prints a line per minute.

    Args:
      name: name of the work; `bar.set_description_str` changes it.
      total: number of units, if it is known.
      unit: what `bar.update` counts; bytes, "B", are shown in powers of ten, as in 1.2G.
      disable: show nothing.
    """
    from tqdm import tqdm  # slow to import: helps do without it

    lines = {"mininterval": SECONDS, "miniters": 1, "delay": SECONDS, "bar_format": LINE}
    is_terminal = sys.stderr.isatty()
    return tqdm(
        desc=name,
        total=total,
        unit=unit,
        unit_scale=unit == "B",
        disable=disable,
        leave=not is_terminal,
        **({} if is_terminal else lines),
    )


def follow(bar: "tqdm.tqdm") -> Callable[[int, int], None]:
    """Return a function of (done, total) that moves the bar to that place."""

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return report
