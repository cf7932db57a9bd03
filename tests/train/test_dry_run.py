import copy
import dataclasses

import jax
import pytest

from jaxedit.config import PRESETS, MeshConfig, TrainConfig
from jaxedit.planning import topology
from jaxedit.planning.collectives import Traffic
from jaxedit.planning.device_memory import DeviceMemory, MemoryItem, total
from jaxedit.planning.topology import pod
from jaxedit.sharding.mesh import make_mesh
from jaxedit.train import __main__ as main
from jaxedit.train import dry_run, step_memory
from jaxedit.train.objectives.registry import abstract_objective

GIB = 2**30


@pytest.fixture
def config():
    """Rows of 9 tokens: 4 of the source, 5 of the target."""
    config = TrainConfig(model=copy.deepcopy(PRESETS["tiny"]), dtype="float32")
    model = config.model
    model.t5 = dataclasses.replace(model.t5, layers=1)
    model.bsq = dataclasses.replace(model.bsq, bits=4, base_channels=24, channel_mult=(1, 1, 1, 1))
    sizes = {"depth": 2, "width": 32, "heads": 2, "mlp_hidden": 64, "bits": 4}
    model.varedit = dataclasses.replace(model.varedit, scales=((1, 1), (2, 2)), **sizes)
    config.data.image_size, config.data.text_tokens, config.data.batch_size = 16, 6, 8
    config.mesh = MeshConfig(data=1, fsdp=4, tensor=2)
    return config


@pytest.fixture
def pretended(monkeypatch):
    """Say what the compiler would have said."""

    def say(traffic):
        found = dry_run.Compiled(12.0, 3e9, 4e9, traffic)
        monkeypatch.setattr(dry_run, "compile_step", lambda *arguments: found)
        monkeypatch.setattr(topology, "compiles_for_tpus", lambda: False)
        monkeypatch.setattr(step_memory, "_activations", lambda config, objective, rows: 1e6 * rows)

    return say


def test_a_step_on_simulated_devices(config):
    found = dry_run.dry_run(config, pod("cpu-8"), DeviceMemory(1e9, "somebody"))
    assert found.fits and not found.is_exact and found.mesh == config.mesh
    mesh, objective = make_mesh(config.mesh), abstract_objective(config)
    entries = step_memory.state_items(config, objective, mesh)
    trained = total(entry for entry in entries if entry.name != "frozen networks")
    batch = 2 * (2 * 16 * 16 * 3 + 6 * 5)
    assert trained + batch < found.compiled.arguments < total(entries) + batch  # has no decoder
    kinds = {(row.kind, row.axes) for row in found.compiled.traffic}
    assert {("all-gather", ("fsdp",)), ("all-reduce", ("tensor",))} <= kinds
    lines = dry_run.text(found, config).splitlines()
    assert lines[0] == "cpu-8: 8 devices: data=1 x fsdp=4 x tensor=2: as given"
    assert lines[1].startswith("compiled for 8 simulated CPU devices in ")
    assert "of somebody" in "\n".join(lines) and "GB a step:" in "\n".join(lines)


def test_memory_of_tpus_is_the_compilers(config, pretended, monkeypatch):
    pretended([Traffic("all-gather", ("fsdp",), 3, 1e9)])
    monkeypatch.setattr(dry_run, "is_on_tpu", lambda mesh: True)
    found = dry_run.dry_run(config, pod("v5p-16"), DeviceMemory(5e9, "TPU v5"))
    held = {entry.name: entry.nbytes for entry in found.items}
    assert held["temporary"] == 4e9 and held["batch"] == 2 * (2 * 16 * 16 * 3 + 6 * 5)
    assert found.fits and "compiled for v5p:2x2x2 by libtpu in 12 s" in dry_run.text(found, config)


def test_a_program_that_is_too_large(config, monkeypatch):
    class Lowered:
        message = "Ran out of memory in memory space hbm. Used 31.25G of 15.75G hbm."

        def compile(self, options):
            raise jax.errors.JaxRuntimeError(self.message)

    monkeypatch.setattr(dry_run, "lower_step", lambda *arguments: Lowered())
    arguments = config, abstract_objective(config), make_mesh(config.mesh)
    found = dry_run.compile_step(*arguments)
    assert found.traffic is None
    assert found.arguments + found.temporary == pytest.approx(31.25 * GIB)
    Lowered.message = "total memory required for HLO temporaries (21.70G) exceeds HBM (15.75G)."
    assert dry_run.compile_step(*arguments).temporary == pytest.approx(21.7 * GIB)
    Lowered.message = "a bug"
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        dry_run.compile_step(*arguments)


@pytest.mark.parametrize(("gb", "code"), [("16", 0), ("0.01", 1)])
def test_the_command(gb, code, pretended, capsys):
    pretended([])
    arguments = ["--config=configs/var_sar.py:tiny", "--config.data.batch_size=8", "--dry_run"]
    assert main.main(["train", *arguments, "--devices=v5e-8", f"--memory_gb={gb}"]) == code
    out = capsys.readouterr().out
    assert out.startswith("v5e-8: 8 devices: data=8 x fsdp=1 x tensor=1: as given\n")
    assert "simulated CPU devices (the package libtpu is not installed) in 12 s" in out
    assert ("does not fit" in out) == bool(code)
    assert out.endswith("a step sends nothing between devices\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices=v5p-128"], "--devices: expected --dry_run with it"),
        (["--devices=abacus", "--dry_run"], "--devices=abacus: expected a name such as"),
        (["--devices=v5p-24", "--dry_run"], "--devices=v5p-24: expected a slice of 8, 16"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    config = ["--config=configs/var_sar.py:tiny", "--workdir=unused"]
    assert main.main(["train", *config, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1


def test_a_step_that_was_not_compiled_does_not_fit():
    compiled = dry_run.Compiled(1.0, 1.0, 1.0, None)
    items = [MemoryItem("parameters", 1.0)]
    memory = DeviceMemory(None, "somebody")
    run = dry_run.DryRun(pod("gpu-8"), MeshConfig(), "", items, compiled, memory, is_exact=True)
    assert not run.fits
