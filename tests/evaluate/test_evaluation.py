"""The whole command on held-out toybox pairs: edit, score, judge, report; resumed, and misused."""

import fcntl
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxedit import config_file
from jaxedit.evaluate import __main__ as command
from jaxedit.evaluate import edit_samples
from jaxedit.evaluate.arguments import make_parser, with_config

FREE = "psnr_background,mse_background,ssim_background"  # of networks
COUNT = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Where the first run writes the pairs."""
    return tmp_path_factory.mktemp("evaluate") / "toys"


def arguments(data, out, *more):
    options = [f"--option=count={COUNT}", f"--scores={FREE}"]
    return ["--benchmark=toybox", f"--data={data}", f"--out={out}", *options, *more]


@pytest.fixture(scope="module")
def results(data, tmp_path_factory):
    """The folder of a finished run of the bundled model."""
    out = tmp_path_factory.mktemp("results") / "varedit"
    assert command.main(arguments(data, out, "--model=toy-varedit")) == 0
    return out


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


def copied(results, folder):
    """The edits of a run as another program's pictures."""
    for path in (results / "edits").rglob("*.png"):
        to = folder / path.relative_to(results / "edits")
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(to)
    return folder


def test_a_run_writes_edits_scores_and_reports(results):
    summary = summary_of(results)
    assert summary["samples"] == COUNT and summary["missing"] == []
    scores = summary["scores"]
    assert 20 < float(scores["psnr_background"]["mean_finite"]) < 60
    assert 0.7 < scores["ssim_background"]["mean"] <= 1
    assert 0 <= scores["toy_suc"]["mean"] <= 10 and scores["toy_suc"]["n"] == COUNT
    assert 0 < scores["seconds"]["mean"] < 60
    assert len(list((results / "edits").rglob("*.png"))) == COUNT
    assert "psnr_background" in (results / "report.md").read_text()
    settings = summary["settings"]
    assert settings["method"] == "varedit" and settings["guidance"] > 0  # the model's own
    assert not {"instruction", "source", "task"} & set(settings)  # a sample's own
    page = (results / "report.html").read_text()
    assert page.count("data:image/webp") >= 3 * COUNT
    assert "http://" not in page and "https://" not in page


def test_a_second_run_makes_nothing_again(results, data, monkeypatch):
    monkeypatch.setattr(edit_samples, "compile_programs", None)
    before = (results / "per_sample.jsonl").read_bytes()
    assert command.main(arguments(data, results, "--model=toy-varedit")) == 0
    assert (results / "per_sample.jsonl").read_bytes() == before


def test_a_run_that_was_stopped_makes_what_is_missing(results, data, tmp_path):
    out = tmp_path / "run"
    for path in results.rglob("*.png"):
        to = out / path.relative_to(results)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    first = sorted(out.rglob("*.png"))[0]
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    assert command.main(arguments(data, out, "--model=toy-varedit")) == 0
    assert np.array_equal(Image.open(first), Image.open(results / first.relative_to(out)))
    again, before = (summary_of(folder)["scores"] for folder in (out, results))
    assert {**again, "seconds": 0} == {**before, "seconds": 0}


def test_pictures_of_another_program(results, data, tmp_path, capsys):
    images = copied(results, tmp_path / "theirs")
    out = tmp_path / "run"
    assert command.main(arguments(data, out, f"--images={images}", "--format=pnp-csv")) == 0
    ours, theirs = summary_of(results)["scores"], summary_of(out)["scores"]
    assert theirs["psnr_background"] == ours["psnr_background"]
    assert (out / "scores.csv").read_text().startswith("file_id,theirs|psnr_background,")

    lost = next(images.rglob("*.png"))
    lost.unlink()
    assert command.main(arguments(data, out, f"--images={images}")) == 1
    assert "1 edits are missing" in capsys.readouterr().err
    assert len(summary_of(out)["missing"]) == 1
    assert command.main(arguments(data, out, f"--images={images}", "--allow_missing")) == 0


def test_networks_that_are_not_there_are_named(results, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "run"
    options = [f"--images={results / 'edits'}", "--scores=psnr_background,lpips_background"]
    assert command.main([*arguments(data, out), *options]) == 0
    scores = summary_of(out)["scores"]
    assert "mean" in scores["psnr_background"] and "unavailable" in scores["lpips_background"]
    assert "lpips_background: –" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--scores=beauty", "--scores=beauty: expected one of"),
        ("--types=nothing", "--types=nothing: expected some of"),
        ("--limit=0", "--limit=0: expected 1 or more"),
        ("--option=count", "--option=count: expected NAME=VALUE"),
        ("--judge=openai", "--judge_model is missing"),
        ("--images=nowhere", "--images=nowhere: expected a folder"),
    ],
)
def test_bad_arguments(change, message, data, tmp_path, capsys):
    given = [a for a in arguments(data, tmp_path / "out") if not change.startswith(a[:9])]
    images = [] if change.startswith("--images") else [f"--images={tmp_path}"]
    assert command.main([*given, *images, change]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_arguments_from_a_config(results, data, tmp_path, capsys):
    config = tmp_path / "eval_mine.py"
    config.write_text(
        "def get_config():\n    return {'benchmark': 'toybox', 'model': 'x', 'limit': 2, "
        f"'scores': {FREE.split(',')}}}\n",
        "utf-8",
    )
    out = tmp_path / "out"
    given = [f"--config={config}", f"--data={data}", f"--images={results / 'edits'}"]
    assert command.main([*given, f"--out={out}", f"--option=count={COUNT}"]) == 0
    assert summary_of(out)["samples"] == 2
    assert command.main(["--config=nothing.py", f"--out={out}", f"--data={data}"]) == 2
    assert "eval_varedit.py" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["varedit", "editar", "erec"])
def test_published_settings_are_arguments(name):
    file = config_file.load(f"eval_{name}.py", dict)
    for preset in (file.preset, *file.others):
        argv = [f"--config=eval_{name}.py:{preset}", "--data=d", "--out=o"]
        parser = make_parser("")
        args = parser.parse_args(with_config(argv))
        assert args.benchmark and args.model


def test_a_folder_of_another_layout(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    given = ["--benchmark=pie-bench", f"--data={tmp_path / 'empty'}", "--images=x"]
    assert command.main([*given, f"--out={tmp_path / 'out'}"]) == 2
    assert "mapping_file.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_shards_make_what_a_whole_run_makes(results, data, tmp_path):
    images = copied(results, tmp_path / "theirs")
    out = tmp_path / "run"
    given = arguments(data, out, f"--images={images}")
    assert command.main([*given, "--shard=1/3"]) == 0
    assert not (out / "report.md").exists() and (out / "per_sample.1-of-3.jsonl").exists()
    assert command.main([*given, "--workers=3"]) == 0
    lines = [len(path.read_text().splitlines()) for path in out.glob("per_sample.*-of-3.jsonl")]
    assert sum(lines) == COUNT  # nothing twice
    ours, theirs = summary_of(results)["scores"], summary_of(out)["scores"]
    assert {name: ours[name] for name in theirs} == theirs


def test_two_runs_do_not_share_a_folder(results, data, capsys):
    with (results / ".per_sample.jsonl.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert command.main(arguments(data, results, "--model=toy-varedit")) == 2
    assert "another run writes there" in capsys.readouterr().err


def test_the_page_shows_texts_as_they_are(tmp_path):
    from jaxedit.evaluate.page import page

    sample = {"key": "k", "instruction": "</script><b>", "scores": {}, "pictures": {}}
    text = page("<title>", "s", "|  | a |\n|---|---|\n| **all** | 1 |", [sample], {})
    assert "</script><b>" not in text and "&lt;title&gt;" in text
    assert "<th></th><th>a</th>" in text and "<td>all</td><td>1</td>" in text
    assert pathlib.Path(command.__file__).with_name("page.html").exists()
