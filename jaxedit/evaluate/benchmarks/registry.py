"""All benchmarks by name; a reader is imported when it is called."""

import dataclasses
import inspect
import os
import pathlib
import re
from typing import TYPE_CHECKING, Any

from jaxedit.config import require
from jaxedit.config.family import load

if TYPE_CHECKING:
    from jaxedit.evaluate.sample import Benchmark


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads a benchmark from a directory in its published layout."""

    place: str  # "module:function" in this package

    def __call__(self, directory: str | os.PathLike, **options: Any) -> "Benchmark":
        """Read the benchmark.

        Args:
          **options: keyword arguments of the function, such as `lang`.

        Raises:
          ConfigError: the directory has another layout (the message says which file was expected
            where), an option is unknown or of another type, or keys cannot name files.
        """
        read = load(f"jaxedit.evaluate.benchmarks.{self.place}")
        kinds = {p.name: p.annotation for p in inspect.signature(read).parameters.values()}
        del kinds["directory"]
        for name, value in options.items():
            given, known = f"--option={name}={value}", ", ".join(kinds) or "no option"
            require(name in kinds, f"{given}: expected {known}")
            require(isinstance(value, kinds[name]), f"{given}: expected {kinds[name].__name__}")
        benchmark = read(pathlib.Path(directory).expanduser().absolute(), **options)
        _check_keys([sample.key for sample in benchmark.samples], directory)
        return benchmark


BENCHMARKS: dict[str, Reader] = {
    "pie-bench": Reader("pie_bench:read_pie_bench"),
    "emu-edit": Reader("emu_edit:read_emu_edit"),
    "magicbrush": Reader("magicbrush:read_magicbrush"),
    "imgedit-bench": Reader("imgedit_bench:read_imgedit_bench"),
    "imgedit-uge": Reader("imgedit_bench:read_imgedit_uge"),
    "gedit-bench": Reader("gedit_bench:read_gedit_bench"),
    "multigen-depth": Reader("multigen:read_multigen_depth"),
    "multigen-canny": Reader("multigen:read_multigen_canny"),
    "coco-stuff": Reader("coco_stuff:read_coco_stuff"),
    "toybox": Reader("toybox:read_toybox"),
}


def _check_keys(keys: list[str], directory: str | os.PathLike) -> None:
    """Raise ConfigError unless keys are different paths that stay in the folder of edits."""
    seen = set()
    for key in keys:
        parts = key.split("/")
        is_path = not {"", ".", ".."} & set(parts) and not re.search(r"[\0-\x1f\\:]", key)
        require(is_path, f"{directory}: key {key!r}: expected a path below the folder of edits")
        require(key not in seen, f"{directory}: key {key!r} occurs twice: expected unique keys")
        seen.add(key)
