"""One picture by `python -m jaxedit`: edited, made again, or only planned."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxedit import __main__ as command
from jaxedit.config.methods import PART_OF
from jaxedit.data.pictures import photo
from jaxedit.editor import provenance
from jaxedit.editor.__main__ import make_parser

WORDS = "make the ball blue"


def test_an_edit_is_written_and_replayed(run, here):
    code, out, err = run("photo.png", WORDS, "--seed", "3", "--guidance", "1.5")
    assert (code, err) == (0, "") and "edited.png: edited in" in out
    assert out.index("preparing the programs") < out.index("programs ready in")
    assert photo.read("edited.png").size == (40, 24)
    settings = provenance.read_settings("edited.png")
    assert settings["seed"] == 3 and settings["guidance"] == 1.5
    assert settings["source"] == "photo.png" and settings["source_sha256"]
    code, out, _ = run("--from_png", "edited.png")
    assert code == 0 and "edited-again.png: equal to edited.png bit for bit" in out
    (here / "photo.png").rename("moved.png")
    code, _, err = run("--from_png", "edited.png")
    assert code == 2 and "photo.png: the photo is not there any more" in err
    code, out, _ = run("--from_png", "edited.png", "moved.png")
    assert code == 0 and "edited-again-2.png: equal" in out  # no earlier picture is replaced
    with open("moved.png", "ab") as file:
        file.write(b"x")
    code, _, err = run("--from_png", "edited.png", "moved.png")
    assert code == 2 and "moved.png: the photo changed: sha256" in err


def test_a_replay_with_other_weights_is_refused(run):
    run("photo.png", WORDS)
    settings = provenance.read_settings("edited.png") | {"weights_sha256": "0" * 64}
    provenance.save_png("edited.png", photo.read("edited.png"), settings)
    code, _, err = run("--from_png", "edited.png")
    assert code == 2 and "tiny: the weights changed: sha256" in err


def test_a_replay_that_differs_says_so(run):
    run("photo.png", WORDS)
    settings = provenance.read_settings("edited.png")
    provenance.save_png("edited.png", Image.new("RGB", (40, 24)), settings)
    code, _, err = run("--from_png", "edited.png")
    assert code == 1 and "edited-again.png: differs from edited.png" in err


@pytest.mark.parametrize("spelling", ["photo.png", "./photo.png", "link.png"])
def test_an_edit_never_replaces_its_picture(run, here, spelling):
    (here / "link.png").symlink_to("photo.png")
    before = (here / "photo.png").read_bytes()
    code, _, err = run("photo.png", WORDS, "--output", spelling)
    assert code == 2 and "the picture itself: expected another name" in err
    assert (here / "photo.png").read_bytes() == before


def test_the_photo_of_a_replay_is_looked_for_by_its_name(run, here):
    assert run("photo.png", WORDS)[0] == 0
    (here / "sub").mkdir()
    for name in ("photo.png", "edited.png"):
        (here / name).rename(here / "sub" / name)
    Image.new("RGB", (40, 24)).save("photo.png")  # another one of its name
    assert run("--from_png", "sub/edited.png")[0] == 0
    assert provenance.read_settings("sub/edited.png")["source"] == "photo.png"


def test_the_text_encoders_dtype_is_recorded_and_replayed(run):
    assert run("photo.png", WORDS, "--greedy", "--t5_dtype=bfloat16")[0] == 0
    settings = provenance.read_settings("edited.png")
    assert (settings["dtype"], settings["t5_dtype"]) == ("float32", "bfloat16")
    assert run("--from_png", "edited.png")[0] == 0
    code, _, err = run("--from_png", "edited.png", "--t5_dtype=float16")
    assert code == 2 and "takes t5_dtype from the file" in err
    assert run("photo.png", WORDS, "--t5_dtype=int8")[0] == 2
    assert run("photo.png", WORDS, "--greedy")[0] == 0
    settings = provenance.read_settings("edited.png")
    del settings["t5_dtype"]  # as older versions wrote it
    provenance.save_png("edited.png", photo.read("edited.png"), settings)
    assert run("--from_png", "edited.png")[0] == 0


def test_erec_writes_its_panel_and_is_replayed(run_editar):
    erec = ("--method", "editar+erec", "--tau_js", "0.1", "--no-use_nll_high")
    code, out, err = run_editar("photo.png", WORDS, *erec, "--diagnostics", "panel.png")
    assert (code, err) == (0, "") and "panel.png: maps, mask and paths" in out
    assert photo.read("panel.png").width > 1000
    settings = provenance.read_settings("edited.png")
    assert settings["method"] == "editar+erec" and settings["tau_js"] == 0.1
    assert settings["use_nll_high"] is False
    code, out, _ = run_editar("--from_png", "edited.png")
    assert code == 0 and "equal to edited.png bit for bit" in out


def test_how_a_picture_became_a_square_is_recorded_and_replayed(run_editar):
    for given, size, recorded in (
        ((), (16, 16), ("crop", None)),
        (("--keep_size",), (40, 24), ("crop", True)),
        (("--fit", "pad"), (40, 24), ("pad", None)),
    ):
        assert run_editar("photo.png", WORDS, *given, "--output", "edited.png")[0] == 0
        assert photo.read("edited.png").size == size
        settings = provenance.read_settings("edited.png")
        assert (settings["fit"], settings.get("keep_size")) == recorded
        assert run_editar("--from_png", "edited.png")[0] == 0
    del settings["fit"]  # as in earlier files, when every picture was padded
    provenance.save_png("edited.png", photo.read("edited.png"), settings)
    assert run_editar("--from_png", "edited.png")[0] == 0
    code, _, err = run_editar("--from_png", "edited.png", "--fit", "crop", "--keep_size")
    assert code == 2 and "--from_png takes fit, keep_size from the file" in err
    code, _, err = run_editar("photo.png", WORDS, "--fit", "cover")
    assert code == 2 and "invalid choice: 'cover'" in err and "pad" in err


def test_a_deep_depth_map_is_edited_and_replayed(run_editar):
    Image.fromarray(np.linspace(0.5, 80, 24 * 40, dtype=np.float32).reshape(24, 40)).save("d.tif")
    assert run_editar("d.tif", "a ball", "--task", "depth")[0] == 0
    assert run_editar("--from_png", "edited.png", "--output", "b.png")[0] == 0
    code, _, err = run_editar("d.tif", "make it snow", "--output", "c.png")
    assert code == 2 and err.startswith(
        "error: d.tif: not a readable picture: TIFF of 32-bit float"
    )


def test_a_task_is_recorded_and_replayed(run_editar):
    assert run_editar("photo.png", "a red ball", "--task", "canny", "--top_k", "3")[0] == 0
    settings = provenance.read_settings("edited.png")
    assert settings["task"] == "canny" and settings["instruction"] == "a red ball"
    assert run_editar("--from_png", "edited.png")[0] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--task", "depth"], "--task=depth: expected a photo and an instruction"),
        (["photo.png", "--task", "canny"], "--task=canny: photo='photo.png': expected an instr"),
        (["photo.png", WORDS, "--task", "paint"], "argument --task: invalid choice: 'paint'"),
        (["photo.png", WORDS, "--top_k", "0"], "top_k=0: expected 1 to 40"),
        (["photo.png", WORDS, "--top_k", "41"], "top_k=41: expected 1 to 40"),
        (["photo.png", WORDS, "--top_p", "0"], "top_p=0.0: expected a number in (0, 1]"),
        (
            ["photo.png", WORDS, "--tau_js", "0.5"],
            "tau_js=0.5: an option of method varedit+erec or editar+erec",
        ),
        (["photo.png", WORDS, "--method", "editar+erec", "--tau_low", "nan"], "tau_low=nan"),
        (["photo.png", WORDS, "--method", "varedit"], "expected one of editar, editar+erec for"),
        (
            ["photo.png", WORDS, "--diagnostics", "a.png"],
            "expected --method=varedit+erec or editar+erec",
        ),
        (["--batch", "photo.png", "--task", "canny"], "--batch: expected no task beside it"),
    ],
)
def test_bad_input_of_editar(run_editar, arguments, message):
    code, _, err = run_editar(*arguments)
    assert code == 2 and message in err and err.startswith("error: ") and err.count("\n") == 1


def test_erec_with_varedits_weights(run):
    code, _, err = run("photo.png", WORDS, "--method", "editar+erec")
    assert code == 2 and "method='editar+erec': expected one of varedit" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "expected a photo and an instruction"),
        (["photo.png"], "photo='photo.png': expected an instruction"),
        (["absent.png", WORDS], "absent.png: No such file"),
        (
            ["photo.png", "ball " * 2000, "--strict"],
            "ball ball '... has 2001 tokens: expected at most 32",
        ),
        (
            ["photo.png", WORDS, "--guidence=3"],
            "--guidence=3: no such argument; did you mean --guidance?",
        ),
        (
            ["photo.png", WORDS, "--tau_js=1"],
            "tau_js=1.0: an option of method varedit+erec or editar+erec, found varedit",
        ),
        (["photo.png", WORDS, "--guidance", "nan"], "guidance=nan: expected a finite number"),
        (["photo.png", WORDS, "--guidance", "x"], "argument --guidance: 'x': expected a number"),
        (["photo.png", WORDS, "--temperature", "0"], "temperature=0.0: expected a positive number"),
        (["photo.png", WORDS, "--top_p", "2"], "top_p=2.0: expected a number in (0, 1]"),
        (["photo.png", WORDS, "--seed", "-1"], "seed=-1: expected 0 to"),
        (["photo.png", WORDS, "--frob"], "--frob: no such argument"),
        (["photo.png", WORDS, "--output", "a.jpg"], "a.jpg: expected a name ending in .png"),
        (["photo.png", WORDS, "--output", "photo.png/a.png"], "a.png: cannot write there"),
        (["photo.png", WORDS, "--model", "absent"], "'absent': expected a bundled name"),
        (["--batch", "absent.jsonl"], "--batch=absent.jsonl: no such list or folder"),
        (["--batch", "photo.png"], "photo.png: expected lines of JSON"),
        (["photo.png", WORDS, "--batch", "photo.png"], "expected no photo beside it"),
        (["--batch", "."], "a folder: expected one instruction, for all its pictures"),
        (["photo.png", WORDS, "--batch", "."], "a folder: expected one instruction"),
        ([WORDS, "--batch", ".", "--task", "depth"], "--task: expected no folder as --batch"),
        (["--from_png", "photo.png"], "photo.png: expected a PNG file that jaxedit wrote"),
        (["--from_png", "a.png", "--seed", "1"], "--from_png takes seed from the file"),
        (["--from_png", "a.png", "--batch", "b"], "--batch and --from_png"),
        (["--from_png", "a.png", "--dtype", "float32"], "--from_png takes dtype from the file"),
        (["--from_png", "a.png", "--dry_run"], "--dry_run: expected no --from_png"),
        (["--dry_run", "--memory_gb", "-1"], "--memory_gb=-1.0: expected a positive number"),
        (["--dry_run", "--rows_per_device", "0"], "--rows_per_device=0: expected 1 or more"),
        (["--dry_run", "--mesh", "fsdp=2"], "mesh: 'fsdp=2': expected sizes such as data=1"),
        (["photo.png", WORDS, "--mesh", "tensor=4"], "tensor=4 does not divide the 2 heads"),
        (["photo.png", WORDS, "--devices", "v5e-4"], "--devices: expected --dry_run with it"),
        (["--from_png", "a.png", "--mesh", "tensor=2"], "--from_png takes mesh from the file"),
        (["--dry_run", "--guidance", "nan"], "guidance=nan: expected a finite number"),
        (["photo.png", WORDS, "--dtype", "f8"], "argument --dtype: invalid choice: 'f8'"),
        (["photo.png", WORDS, "--text_features", "no/a"], "no/a: there is no folder no"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, tiny_model, arguments, message, capsys):
    model = [] if "--model" in arguments else ["--model", str(tiny_model)]
    code = command.main([*arguments, *model])
    err = capsys.readouterr().err
    assert code == 2 and message in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_dry_run_needs_no_weights_and_no_photo(here, capsys, monkeypatch):
    monkeypatch.setattr("jaxedit.checkpoints.pretrained.open_params", None)
    dry = ["--model", "editar-512", "--dry_run"]
    assert command.main([*dry, "--memory_gb", "16"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("editar-512, on each device:") and "text encoder     2.45 GB" in out
    assert "in bfloat16" in out and out.splitlines()[-1].startswith("fits: needs")
    small = command.main([*dry, "--memory_gb", "4", "--method", "editar+erec"])
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert small == 1 and verdict.startswith("does not fit: needs")
    assert "of 4.00 GB of --memory_gb; try: --text_on_host or" in verdict
    assert command.main([*dry, "--devices=v5e-4", "--mesh=tensor=4"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "v5e-4: 4 devices: data=1 x tensor=4: as given"
    assert last == "fits: needs 1.82 GB of 16.00 GB of TPU v5 lite"
    assert not any(path.name != "photo.png" for path in here.iterdir())


def test_a_dry_run_of_a_model_that_is_here(run):
    code, out, _ = run("--dry_run", "--text_on_host")
    assert code == 0 and "on the host" in out and "in float32" in out
    assert "of the host's memory" in out.splitlines()[-1]


@pytest.mark.parametrize("words", ["", "\u200b\u00a0\ufeff"])
def test_instructions_without_words_are_refused_before_weights_are_loaded(run, here, words):
    (here / "list.jsonl").write_text(json.dumps({"image": "photo.png", "instruction": words}))
    for arguments in (["photo.png", words], ["--batch", "list.jsonl"]):
        code, out, err = run(*arguments)
        assert code == 2 and f"instruction={words!r}: " in err and "loaded" not in out


def test_text_features_are_written_and_recorded_settings_replayed(run, here):
    texts = ("--text_features", "texts.safetensors", "--text_on_host", "--dtype", "float32")
    assert run("photo.png", WORDS, *texts)[0] == 0 and (here / "texts.safetensors").is_file()
    assert provenance.read_settings("edited.png")["text_on_host"] is True
    code, out, _ = run("--from_png", "edited.png")
    assert code == 0 and "equal to edited.png bit for bit" in out


def test_every_setting_has_an_option():
    parser = make_parser()
    assert {action.dest for action in parser._actions} >= set(PART_OF)


def test_help_is_quick_and_loads_no_jax():
    code = (
        "import sys; from jaxedit import __main__ as m; assert m.main(['--help']) == 0; "
        "assert not {'jax', 'numpy', 'transformers'} & set(sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--from_png" in out.stdout and "JSONL" in out.stdout
