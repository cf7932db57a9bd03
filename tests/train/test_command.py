import subprocess
import sys

import pytest

from jaxedit.config import ConfigError
from jaxedit.train import __main__ as main
from jaxedit.train import command, step_memory


def parse(*arguments, config="configs/var_sar.py:tiny", workdir="/tmp/run"):
    return command.parse(["train", f"--config={config}", f"--workdir={workdir}", *arguments])


def test_overrides_of_every_kind():
    args = parse(
        "--config.optim.learning_rate=1",
        "--config.tensorboard=true",
        "--config.model.varedit.scales=((1, 1), (2, 2))",
        "--config.model.sample.guidance=(1.0, 2)",
        "--config.model.sample.temperature=0.25",
    )
    assert args.config.optim.learning_rate == 1.0
    assert args.config.tensorboard is True
    assert args.config.model.varedit.scales == ((1, 1), (2, 2))
    assert args.config.model.sample.guidance == (1.0, 2)
    assert args.config.model.sample.temperature == 0.25
    assert args.overrides["optim.learning_rate"] == 1.0
    assert args.overrides["model.sample.temperature"] == 0.25


def test_installed_config_is_found_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse().config.model.varedit.conditioning == "sar"


def test_config_as_two_arguments():
    args = command.parse(["train", "--config", "configs/var_full.py", "--workdir", "/tmp/run"])
    assert args.config.model.varedit.conditioning == "full"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.stpes=3"], "stpes=3: no such setting; did you mean --config.steps or "),
        (["--config.optim.learningrate=3"], r"did you mean --config.optim.learning_rate\?"),
        (["--config.opt.learning_rate=3"], r"did you mean --config.optim.learning_rate\?"),
        (["--config.learning_rate=3"], r"did you mean --config.optim.learning_rate\?"),
        (["--config.steps=many"], "--config.steps=many: invalid literal for int"),
        (["--config.steps=1.5"], "--config.steps=1.5: invalid literal for int"),
        (["--config.tensorboard=maybe"], "--config.tensorboard=maybe: .*boolean"),
        (["--config.remat=true"], "remat='true': expected all, cheap or none"),
        (["--config.label_precision=low"], "label_precision='low': expected highest or high"),
        (["--config.unroll=0"], "unroll=0: expected a positive whole number"),
        (["--config.eval_every=-1"], "eval_every=-1: expected a whole number of 0 or more"),
        (["--config.eval_batches=0"], "eval_batches=0: expected a positive whole number"),
        (
            ["--config.data.source=mine", "--config.export=best", "--config.best_metric=val/loss"],
            "export='best': expected eval_every and data.validation, a share of",
        ),
        (["--config.data.validation=1.5"], "data.validation=1.5: expected a share above 0 and"),
        (["--config.data.validation=0.1"], "data.validation=0.1: expected 'toy', the toybox's"),
        (["--config.export=first"], "export='first': expected last or best"),
        (
            ["--config.export=best", "--config.eval_every=0"],
            "export='best': expected eval_every",
        ),
        (["--config.best_metric=loss"], "best_metric='loss': expected val/loss, val/accuracy, "),
        (
            ["--config.best_metric=val/psnr"],
            "best_metric='val/psnr': expected val/loss or val/accuracy for varedit",
        ),
        (["--config.eval_benchmark=pie"], "eval_benchmark='pie': expected toybox or nothing"),
        (
            ["--config.eval_benchmark="],
            "best_metric='val/success': expected eval_every and eval_benchmark",
        ),
        (
            ["--config.data.source=mine", "--config.best_metric=val/accuracy"],
            "best_metric='val/accuracy': expected eval_every and data.validation",
        ),
        (["--config.eval_samples=0"], "eval_samples=0: expected a positive whole number"),
        (["--profile_steps=5"], "--profile_steps=5: expected a first and a last step"),
        (["--profile_steps=5,4"], "--profile_steps=5,4: expected a first"),
        (["--config.model.sample.guidance=high"], "guidance=high: expected float | tuple"),
        (["--config.model.sample.guidance=(1.0,)"], r"expected one number or \d numbers"),
        (["--config.steps=0"], "steps=0: expected a positive whole number"),
        (["steps=3"], r"steps=3: settings .* did you mean --config.steps=3\?"),
        (["--steps=4"], r"settings start with --config.: did you mean --config.steps=4\?"),
        (["-steps=4"], r"did you mean --config.steps=4\?"),
        (["--lora.rank=4"], r"did you mean --config.lora.rank=4\?"),
        (["--batchsize=4"], r"did you mean --config.data.batch_size=4\?"),
        (["--xyz"], "--xyz: no such flag; settings start with --config."),
        (["--workdri=x"], r"--workdri=x: no such flag; did you mean --workdir\?"),
        (["3"], "unknown argument '3'"),
        (["--config.model.vq.codes=3"], "model.vq.codes=3: a model of type varedit has no vq"),
        (["--distributed=yes"], "should be one of <auto|on|off>"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        parse(*arguments)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("configs/var_sar.py:huge", "unknown preset 'huge': expected one of tiny, tiny-level3, 2b"),
        ("nowhere.py", "nowhere.py: no such file; installed configs: .*var_sar.py"),
        ("tests/conftest.py", "tests/conftest.py: expected a function get_config"),
        ("README.md", "README.md: expected a Python file"),
    ],
)
def test_wrong_config(config, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse(config=config)
    assert "\n" not in str(error.value)


def test_missing_arguments():
    with pytest.raises(ConfigError, match="--config is missing"):
        command.parse(["train"])


@pytest.mark.parametrize(
    ("config", "workdir", "others"),
    [
        ("var_sar.py", "runs/var_sar-tiny", "the others: tiny-level3, 2b-256, 2b, 8b (--"),
        ("finetune.py", "runs/finetune-tiny", "the others: varedit, varedit-256, editar"),
        ("tokenizer_vq.py", "runs/tokenizer_vq-tiny", "the others: tiny-level3, vq16, vq8"),
    ],
)
def test_the_first_command(config, workdir, others, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = command.parse(["train", f"--config=configs/{config}"])
    assert args.workdir == workdir
    preset, directory = args.notes
    assert preset.startswith("preset tiny, as none was given; ") and others in preset
    assert directory.startswith(f"run in {workdir}, ") and "same command resumes" in directory
    assert not list(tmp_path.iterdir())


def test_nothing_is_said_of_what_was_given():
    assert parse().notes == []
    assert len(command.parse(["train", "--config=configs/editar.py:xl"]).notes) == 1
    assert len(command.parse(["train", "--config=configs/editar.py", "--dry_run"]).notes) == 1


def test_a_wrong_name_is_one_line(capsys):
    assert main.main(["train", "--config=configs/var_sar.py", "--config.optim.lerning_rate=4"]) == 2
    out, error = capsys.readouterr()
    name = "--config.optim.lerning_rate=4"
    assert not out
    assert error == f"error: {name}: no such setting; did you mean --config.optim.learning_rate?\n"


@pytest.mark.parametrize("flag", ["--help-settings", "--help_settings"])
def test_help_settings(flag, capsys):
    assert main.main(["train", flag, "--config=configs/editar.py:xl"]) == 0
    out = capsys.readouterr().out
    assert "Settings of --config=configs/editar.py:xl" in out and "--config.steps=40000 " in out
    assert main.main(["train", flag]) == 0
    assert "--config.steps=1000 " in capsys.readouterr().out
    assert main.main(["train", flag, "--config=nowhere.py"]) == 2


def test_bad_input_is_one_line_and_exit_code_2(capsys):
    assert main.main(["train", "--config=nowhere.py"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --config=nowhere.py") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("gb", "code"), [("16", 0), pytest.param("0.01", 1, marks=pytest.mark.slow)]
)
def test_a_dry_run_needs_no_workdir(gb, code, capsys, monkeypatch):
    monkeypatch.setattr(step_memory, "_activations", lambda config, objective, rows: 1e6 * rows)
    arguments = ["--config=configs/var_sar.py:tiny", "--config.data.batch_size=8", "--dry_run"]
    assert main.main(["train", *arguments, f"--memory_gb={gb}"]) == code
    out = capsys.readouterr().out
    assert out.startswith("training, on each of 8 devices:") and "Adam's moments" in out
    assert out.splitlines()[-1].startswith(("fits: needs", "does not fit: needs")[code])
    assert ("--config.mesh.data=1 --config.mesh.fsdp=8" in out) == bool(code)


def test_help_is_complete_and_fast():
    helping = "from jaxedit.train import __main__ as command; command.main(['train', '--help'])"
    out = subprocess.run(
        [sys.executable, "-c", f"{helping}; import sys; print('jax' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.splitlines()[-1] == "False"  # to import jax takes seconds
    for word in (
        "--config",
        "--workdir",
        "--distributed",
        "--dry_run",
        "--help-settings",
        "2b-256",
        "tokenizer_bsq.py",
        "d32",
        "42",
    ):
        assert word in out
