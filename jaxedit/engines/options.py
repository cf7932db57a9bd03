"""The options of commands that divide their rows: among workers, or among the jobs of an array."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from jaxedit.config import require
from jaxedit.config.comments import comments_of
from jaxedit.config.fields import PositiveInt, check_fields, choices_of, hints_of
from jaxedit.engines.engine import EngineName, require_engine

Row = TypeVar("Row")


class Shard(NamedTuple):
    """Every `count`-th row from row `index`, which starts at 0."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that a text such as "0/8" names.

        Raises:
          ArgumentTypeError: the text names no shard.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            message = f"{text!r}: expected I/N with 0 <= I < N, such as 0/8"
            raise argparse.ArgumentTypeError(message)
        return cls(int(index), int(count))

    def of(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of the shard."""
        return rows[self.index :: self.count]

    def __str__(self) -> str:
        """Return the text that `parse` takes."""
        return f"{self.index}/{self.count}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Settings of a run whose rows are divided among workers."""

    engine: EngineName = "local"  # processes of this machine, or a Ray cluster
    workers: PositiveInt = 1  # jobs at a time

    def validate(self) -> None:
        """Raise ConfigError if a value is wrong, or the engine is not installed."""
        check_fields(self)
        require_engine(self.engine)

    @property
    def is_divided(self) -> bool:
        """Tell whether other processes do the work."""
        return self.workers > 1 or self.engine != "local"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardConfig(EngineConfig):
    """Settings of a run that may also be one of several, each with a shard of the rows."""

    # make only every Nth row, from row I on (0 to N-1), as one job of an array; a run without
    # --shard, when all jobs are done, finishes the work
    shard: Shard | None = None

    def validate(self) -> None:
        """See `EngineConfig`; a shard is made by this process alone."""
        super().validate()
        require(
            self.shard is None or not self.is_divided,
            f"--shard={self.shard}: expected no --engine={self.engine} beside it",
        )


def add_options(
    parser: argparse.ArgumentParser, config: type[EngineConfig] = ShardConfig, *, workers: int = 1
) -> None:
    """Add the options that are the fields of `config`; `workers` is the default."""
    about, choices = comments_of(config), choices_of(hints_of(config)["engine"])
    parser.add_argument("--engine", choices=choices, default=config.engine, help=about["engine"])
    group = parser.add_mutually_exclusive_group()
    about_workers = f"{about['workers']} (default {workers})"
    group.add_argument("--workers", type=int, default=workers, metavar="N", help=about_workers)
    if "shard" in about:
        add_shard(group)


def add_shard(parser: Any) -> None:
    """Add --shard to a parser, or to a group of options."""
    about = comments_of(ShardConfig)["shard"]
    parser.add_argument("--shard", type=Shard.parse, metavar="I/N", help=about)


def shard_config(args: argparse.Namespace) -> ShardConfig:
    """Return the values of the options, checked.

    Raises:
      ConfigError: see `ShardConfig.validate`.
    """
    workers = 1 if args.shard else args.workers
    config = ShardConfig(engine=args.engine, workers=workers, shard=args.shard)
    config.validate()
    return config
