import argparse
import sys

import pytest

from jaxedit.config import ConfigError
from jaxedit.console import Parser
from jaxedit.engines.options import EngineConfig, Shard, add_options, shard_config


def parsed(*arguments, **options):
    parser = Parser(allow_abbrev=False)
    add_options(parser, **options)
    return parser.parse_args(arguments)


def test_shards_part_the_rows():
    rows = list(range(10))
    parts = [Shard(i, 4).of(rows) for i in range(4)]
    assert parts == [[0, 4, 8], [1, 5, 9], [2, 6], [3, 7]]
    assert str(Shard.parse("3/4")) == "3/4" and Shard.parse("3/4") == Shard(3, 4)


@pytest.mark.parametrize("text", ["3/3", "-1/3", "0/0", "1", "a/b", "1/2/3", ""])
def test_texts_that_name_no_shard(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected I/N with 0 <= I < N"):
        Shard.parse(text)


def test_the_options_of_a_command():
    assert not shard_config(parsed()).is_divided
    assert shard_config(parsed("--workers=2")).is_divided
    shard = shard_config(parsed("--shard=0/2", workers=8))  # the default is for whole runs
    assert (shard.shard, shard.workers) == ((0, 2), 1)
    assert "shard" not in parsed(config=EngineConfig)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=0"], "workers=0: expected a positive whole number"),
        (["--engine=ray"], "Ray is not installed: pip install 'jaxedit[ray]'"),
    ],
)
def test_values_that_cannot_work(arguments, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError) as found:
        shard_config(parsed(*arguments))
    assert message in str(found.value)


def test_a_shard_has_no_workers(monkeypatch, capsys):
    monkeypatch.setattr("jaxedit.engines.options.require_engine", lambda engine: None)
    with pytest.raises(ConfigError, match="--shard=0/2: expected no --engine=ray"):
        shard_config(parsed("--shard=0/2", "--engine=ray"))
    for arguments in (["--shard=0/2", "--workers=2"], ["--shard=3/3"]):
        with pytest.raises(SystemExit) as exit:
            parsed(*arguments)
        assert exit.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert "argument --workers: not allowed with argument --shard" in errors[0]
    assert "argument --shard: '3/3': expected I/N" in errors[1] and len(errors) == 2
