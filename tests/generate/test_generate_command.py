import json
import subprocess
import sys

import pytest
from PIL import Image

from jaxedit import __main__ as edit
from jaxedit.data.pictures import photo
from jaxedit.editor import provenance
from jaxedit.generate import __main__ as command

WORDS = "a blue ball"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here, tiny_infinity, capsys):
    """Run the command; returns (exit code, stdout, stderr)."""

    def call(*arguments, model=tiny_infinity):
        chosen = [] if "--from_png" in arguments or model is None else ["--model", str(model)]
        return command.main([*arguments, *chosen]), *capsys.readouterr()

    return call


def settings_in(path):
    return provenance.read_settings(path, "draw")


def test_a_picture_is_written_and_replayed(run, here):
    code, out, err = run(WORDS, "--seed", "3", "--guidance", "1.5", "--top_p", "1")
    assert (code, err) == (0, "") and "generated.png: generated in" in out
    settings = settings_in("generated.png")
    assert (settings["prompt"], settings["seed"], settings["guidance"]) == (WORDS, 3, 1.5)
    code, out, _ = run("--from_png", "generated.png")
    assert code == 0 and "generated-again.png: equal to generated.png bit for bit" in out
    provenance.save_png("generated.png", Image.new("RGB", (16, 16)), settings)
    code, _, err = run("--from_png", "generated.png")
    assert code == 1 and "generated-again-2.png: differs from generated.png" in err
    provenance.save_png("a.png", Image.new("RGB", (16, 16)), settings | {"weights_sha256": "0"})
    code, _, err = run("--from_png", "a.png")
    assert code == 2 and "the weights changed: sha256" in err


def test_a_class_is_drawn_and_replayed(run, tiny_classes):
    assert run("7", "--top_k", "5", "--output", "dog.png", model=tiny_classes)[0] == 0
    assert settings_in("dog.png")["prompt"] == "7" and settings_in("dog.png")["top_k"] == 5
    assert run("--from_png", "dog.png")[0] == 0
    code, _, err = run("12", model=tiny_classes)
    assert code == 2 and err == "error: prompt='12': expected the number of a class, 0 to 9\n"


def test_a_list_goes_on_where_it_was_stopped(run, here):
    rows = [
        {"prompt": WORDS, "seed": 3},
        {"prompt": " "},
        {"prompt": "a star", "output": "sub/star.png"},
        {"instruction": "a star"},
    ]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batch = ("--batch", "list.jsonl", "--output", "out")
    code, out, err = run(*batch)
    assert code == 2 and "out: 2 of 4 generated" in out
    assert "list.jsonl:2: prompt=' ': expected some words" in err
    assert "list.jsonl:4: unknown keys ['instruction']: expected prompt, seed, output" in err
    entries = [json.loads(line) for line in (here / "out/manifest.jsonl").read_text().splitlines()]
    assert [e["status"] for e in entries] == ["ok", "failed", "ok", "failed"]
    run(WORDS, "--seed", "3")
    assert (here / "generated.png").read_bytes() == (here / "out/0000.png").read_bytes()
    assert run("--from_png", "out/sub/star.png")[0] == 0

    good = "\n".join(json.dumps(rows[i]) for i in (0, 2))
    (here / "list.jsonl").write_text(good)
    rows[2]["seed"] = 2  # as its place in the longer list gave it
    (here / "list.jsonl").write_text("\n".join(json.dumps(rows[i]) for i in (0, 2)))
    code, out, _ = run(*batch)
    assert code == 0 and "2 of 2 rows were done before" in out and "loaded" not in out
    assert "2 of 2 generated" in run(*batch, "--guidance=2")[1]
    assert "2 of 2 generated" in run(*batch, "--guidance=2", "--overwrite")[1]


def test_classes_of_a_list_may_be_numbers(run, here, tiny_classes):
    (here / "list.jsonl").write_text('{"prompt": 3}\n{"prompt": "4"}\n{"prompt": 10}')
    code, out, err = run("--batch", "list.jsonl", model=tiny_classes)
    assert code == 2 and "generated: 2 of 3 generated" in out and "list.jsonl:3" in err
    assert settings_in("generated/0000.png")["prompt"] == "3"


@pytest.mark.parametrize(
    ("name", "text"),
    [("infinity-2b", True), ("llamagen-t2i-xl-512", True), ("llamagen-c2i-b-256", False)],
)
def test_a_dry_run_needs_no_weights(here, capsys, monkeypatch, name, text):
    monkeypatch.setattr("jaxedit.checkpoints.pretrained.open_params", None)
    assert command.main(["--model", name, "--dry_run", "--memory_gb", "80"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}, on each device:") and ("text encoder" in out) == text
    assert out.splitlines()[-1].startswith("fits: needs")
    assert command.main(["--model", name, "--dry_run", "--memory_gb", "0.1"]) == 1
    assert ("--text_on_host" in capsys.readouterr().out) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a prompt"),
        (["", "--strict"], "prompt='': expected some words"),
        ([WORDS, "--top_k", "3"], "top_k=3: an option of method llamagen, found infinity"),
        ([WORDS, "--tau_js", "3"], "--tau_js: no such argument"),
        ([WORDS, "--temperature", "0"], "temperature=0.0: expected"),
        ([WORDS, "--batch", "list.jsonl"], "--batch: expected no prompt beside it"),
        ([WORDS, "--output", "a.jpg"], "a.jpg: expected a name ending in .png"),
        ([WORDS, "--seed", "-1"], "seed=-1: expected 0 to"),
        ([WORDS, "--model", "absent"], "'absent': expected a bundled name"),
        ([WORDS, "--model", "toy-varedit"], "a model of type varedit edits pictures: jaxedit.Edit"),
        ([WORDS, "--int8", "bsq"], "int8"),
        (["--batch", "absent.jsonl"], "absent.jsonl: No such file"),
        (["--from_png", "a.png", "--seed", "1"], "--from_png takes seed from the file"),
        (["--from_png", "a.png", "--batch", "b"], "--batch and --from_png"),
        (["--from_png", "a.png", "--dry_run"], "--dry_run: expected no --from_png"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, arguments, message):
    model = {"model": None} if "--model" in arguments else {}
    code, _, err = run(*arguments, **model)
    assert code == 2 and message in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_model_must_be_named(run):
    code, _, err = run(WORDS, model=None)
    assert code == 2 and "--model is missing: expected one that draws (infinity-2b" in err


def test_each_command_names_the_other(run, here, tiny_infinity, capsys):
    Image.new("RGB", (20, 10)).save("photo.png")
    assert edit.main(["photo.png", "make it snow", f"--model={tiny_infinity}"]) == 2
    assert "draws a picture from a text: jaxedit.Generator, or python" in capsys.readouterr().err
    assert run(WORDS)[0] == 0
    assert edit.main(["--from_png", "generated.png"]) == 2
    assert "made by python -m jaxedit.generate, which also makes" in capsys.readouterr().err
    edited = settings_in("generated.png") | {"instruction": "x"}
    del edited["prompt"]
    provenance.save_png("edited.png", photo.read("generated.png"), edited)
    code, _, err = run("--from_png", "edited.png")
    assert code == 2 and "made by python -m jaxedit, which also makes it again" in err


def test_help_is_quick_and_loads_no_jax():
    code = (
        "import sys; from jaxedit.generate import __main__ as m; assert m.main(['--help']) == 0; "
        "assert not {'jax', 'numpy', 'transformers'} & set(sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--top_k" in out.stdout and "--guidance" in out.stdout and "--tau_js" not in out.stdout
