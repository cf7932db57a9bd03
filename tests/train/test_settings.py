import dataclasses
import inspect

import pytest

from jaxedit.config import ConfigError, TrainConfig, clip, models, tokens, training
from jaxedit.config.comments import comments_of
from jaxedit.configs import editar, var_sar
from jaxedit.train.settings import check_names, listing, settings_of

FLAGS = ("workdir", "dry_run")


@dataclasses.dataclass
class Example:
    """A few settings."""

    # above, in
    # two lines
    a: int = 1
    b: str = "#"  # beside # it
    c: tuple[int, ...] = (
        1,  # inside
    )
    d: int = 4  # the end
    e: int = 5


def test_comments():
    assert comments_of(Example) == {
        "a": "above, in two lines",
        "b": "beside # it",
        "c": "inside",
        "d": "the end",
        "e": "",
    }


@pytest.mark.parametrize("module", [clip, models, tokens, training])
def test_every_setting_has_a_comment(module):
    for name, cls in inspect.getmembers(module, dataclasses.is_dataclass):
        comments = comments_of(cls)
        for field in dataclasses.fields(cls):
            is_part = "Config" in str(field.type)  # its own docstring says what it is
            assert is_part or comments[field.name], f"{name}.{field.name}"


def test_settings_of_a_run():
    settings = settings_of(var_sar.get_config("8b"))
    rate = settings["optim.learning_rate"]
    assert (rate.default, rate.hint, rate.is_there) == (6e-5, float, True)
    assert settings["model.varedit.depth"].default == 40
    assert not settings["model.vq.codes"].is_there
    assert settings["data.seed"].comment == "of the order of rows"


def test_listing_has_every_setting_once():
    config = editar.get_config("tiny")
    lines = listing(config, "configs/editar.py:tiny").splitlines()
    found = [line.split("=")[0].strip() for line in lines if line.startswith("  --config.")]
    expected = [f"--config.{s.name}" for s in settings_of(config).values() if s.is_there]
    assert sorted(found) == sorted(expected)
    steps = next(line for line in lines if "--config.steps=" in line)
    assert steps.split("=27000")[1].split()[:5] == "int; of the whole run,".split()
    assert "optim: AdamW. Defaults: Infinity's training script." in lines
    assert len(listing(TrainConfig()).splitlines()) > len(lines)


def test_names():
    good = ["--config.steps=3", "--noconfig.tensorboard", "--workdir", "runs/x", "--nodry_run"]
    check_names(good, FLAGS, var_sar.get_config())
    for argument, hint in {
        "--steps=4": "--steps=4: settings start with --config.: did you mean --config.steps=4?",
        "--config.steps_=4": "--config.steps_=4: no such setting; did you mean --config.steps or ",
        "--config.optim.learning_rat=4": "setting; did you mean --config.optim.learning_rate?",
        "config.steps=4": "did you mean --config.steps=4?",
        "--config.zzz=1": "--config.zzz=1: no such setting; --help-settings lists all",
        "--work_dir=x": "did you mean --workdir?",
        "--config.model.editar.layers=3": "a model of type varedit has no editar",
    }.items():
        with pytest.raises(ConfigError) as error:
            check_names([argument], FLAGS, var_sar.get_config())
        assert hint in str(error.value)
