"""The whole command on held-out toybox pairs: edit, score, judge, report; resumed, and misused."""

import errno
import fcntl
import json
import os
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


def rows_of(out):
    return [json.loads(line) for line in (out / "per_sample.jsonl").read_text().splitlines()]


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
    assert summary["samples"] == COUNT and summary["missing"] == {}
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
    assert (results / "report.md").read_text().startswith("# toybox: toy-varedit, varedit\n")
    page = (results / "report.html").read_text()
    assert page.count("data:image/webp") >= 3 * COUNT
    assert "http://" not in page and "https://" not in page


def test_a_second_run_makes_nothing_again(results, data, monkeypatch):
    monkeypatch.setattr(edit_samples, "compile_programs", None)
    before = (results / "per_sample.jsonl").read_bytes()
    assert command.main(arguments(data, results, "--model=toy-varedit")) == 0
    assert (results / "per_sample.jsonl").read_bytes() == before


def test_the_benchmarks_own_masks(results, data, tmp_path):
    more = ("--model=toy-varedit", "--mask=benchmark", "--limit=2")
    assert command.main(arguments(data, tmp_path / "oracle", *more)) == 0
    summary = summary_of(tmp_path / "oracle")
    assert summary["settings"]["masks"] == "benchmark"
    assert summary["scores"]["mse_background"]["mean"] == 0
    assert "masks" not in summary_of(results)["settings"]


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


def test_missing_and_damaged_edits_are_listed(results, data, tmp_path, capsys):
    images, out = copied(results, tmp_path / "theirs"), tmp_path / "run"
    lost, cut, small, _ = sorted(images.rglob("*.png"))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:500])
    Image.open(small).resize((50, 40)).save(small)
    assert command.main(arguments(data, out, f"--images={images}")) == 1
    error = capsys.readouterr().err
    assert "2 of 4 edits are missing:" in error and f"{cut}: not a readable picture" in error
    reasons = summary_of(out)["missing"]
    assert len(reasons) == 2 and "no such file" in reasons.values()
    assert summary_of(out)["scores"]["psnr_background"]["n"] == len(rows_of(out)) == 2
    assert "- no edit " in (out / "report.md").read_text()
    assert command.main(arguments(data, out, f"--images={images}", "--allow_missing")) == 0
    for path in images.rglob("*.png"):
        path.unlink()
    assert command.main(arguments(data, out, f"--images={images}")) == 2
    assert "none of 4 edits is there" in capsys.readouterr().err


def test_edits_of_another_size_are_told(results, data, tmp_path, caplog):
    images = copied(results, tmp_path / "theirs")
    for path in images.rglob("*.png"):
        Image.open(path).resize((37, 41)).save(path)
    assert command.main(arguments(data, tmp_path / "run", f"--images={images}")) == 0
    assert [r.message for r in caplog.records] == ["edits of 37x41 pixels are resized to 64x64"]


def test_rows_are_those_of_the_summary(results, data, tmp_path):
    """A smaller run after a larger one; what the larger one found is kept for later."""
    out, images = tmp_path / "run", f"--images={results / 'edits'}"
    assert command.main(arguments(data, out, images)) == 0
    cache = (out / "score_cache.jsonl").read_bytes()
    few = [a for a in arguments(data, out, images) if not a.startswith("--scores")]
    assert command.main([*few, "--scores=psnr_background", "--judge=none", "--limit=2"]) == 0
    assert len(rows_of(out)) == summary_of(out)["samples"] == 2
    assert all(row["scores"].keys() == {"psnr_background"} for row in rows_of(out))
    assert (out / "score_cache.jsonl").read_bytes() == cache


def test_edits_of_another_request_are_not_scored_as_its_own(results, data, capsys):
    given = arguments(data, results, "--model=toy-varedit", "--seed=1", "--scores_only")
    assert command.main(given) == 2
    assert "made by another model, seed or options" in capsys.readouterr().err


def test_a_full_disk_leaves_what_was_there(results, data, tmp_path, capsys, monkeypatch):
    out, images = tmp_path / "run", f"--images={results / 'edits'}"
    write = pathlib.Path.write_text

    def fill(path, text, **options):
        write(path, text[:10], **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_text", fill)
        assert command.main(arguments(data, out, images)) == 2
    error = capsys.readouterr().err
    assert error == f"error: {out}/report.html: not written: No space left on device\n"
    assert {path.name for path in out.glob("[!.]*")} == {"score_cache.jsonl"}
    assert command.main(arguments(data, out, images)) == 0
    assert len(rows_of(out)) == COUNT


def test_a_server_judges(server, results, data, tmp_path, monkeypatch, capsys):
    """Without a reply, asked again; with the key in no file; and then all is known."""
    server.script += [(429, "slow down", ("Retry-After", "0")), (200, "Nice! sk-secret")]
    server.default = '{"score": [8, 6]} sk-secret'
    out, images = tmp_path / "run", f"--images={results / 'edits'}"
    options = [f"--judge_url={server.url}", "--judge=openai", "--judge_model=vlm"]
    given = [*arguments(data, out, images, *options), "--rubric=varedit"]
    environment = {"OPENAI_API_KEY": "sk-secret"}
    assert command.main(given, environment) == 0
    assert summary_of(out)["scores"]["gpt_suc"]["mean"] == 8
    assert len(server.requests) == COUNT + 2
    assert server.requests[0][1] == "Bearer sk-secret"
    assert command.main(given, environment) == 0 and len(server.requests) == COUNT + 2
    seen = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    out_err = "".join(capsys.readouterr())
    assert b"sk-secret" not in seen and "sk-secret" not in out_err


def test_replies_that_cannot_be_read_end_with_1(server, results, data, tmp_path, capsys):
    server.default = "I like it"
    options = [f"--judge_url={server.url}", "--judge=openai", "--judge_model=vlm"]
    images = f"--images={results / 'edits'}"
    given = [*arguments(data, tmp_path, images, *options), "--rubric=varedit", "--limit=1"]
    assert command.main(given) == 1
    error = capsys.readouterr().err
    assert "varedit: no scores in 3 replies, the last: 'I like it'" in error
    assert "the judge failed for 1 of 1 edits" in error


def test_a_benchmark_without_scores_is_judged_by_files(results, tmp_path, capsys):
    edits = sorted((results / "edits").rglob("*.png"))
    (tmp_path / "hard").mkdir()
    for i, path in enumerate(edits):
        for to in (tmp_path / f"hard/{i}.png", tmp_path / f"images/{i}.png"):
            to.parent.mkdir(exist_ok=True)
            to.write_bytes(path.read_bytes())
    items = {str(i): {"id": f"{i}.png", "prompt": "p"} for i in range(COUNT)}
    (tmp_path / "UGE_edit.json").write_text(json.dumps(items))
    out, replies = tmp_path / "run", tmp_path / "replies.jsonl"
    given = ["--benchmark=imgedit-uge", f"--data={tmp_path}", f"--images={tmp_path / 'images'}"]
    given += [f"--out={out}", "--judge=file", "--judge_model=vlm"]
    assert command.main(given) == 0
    assert f"{COUNT} edits wait for replies" in capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "judge_requests.jsonl").read_text().splitlines()]
    answers = [{"custom_id": line["custom_id"], "answer": "A: 3\nB: 4"} for line in lines]
    replies.write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
    assert command.main([*given, f"--judge_replies={replies}"]) == 0
    assert summary_of(out)["scores"]["imgedit_overall"]["mean"] == 3.5
    assert (out / "judge_requests.jsonl").read_text() == ""


def test_networks_that_are_not_there_are_named(results, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "run"
    options = [f"--images={results / 'edits'}", "--scores=psnr_background,lpips_background"]
    assert command.main([*arguments(data, out), *options]) == 0
    scores = summary_of(out)["scores"]
    assert "mean" in scores["psnr_background"] and "unavailable" in scores["lpips_background"]
    report = (out / "report.md").read_text()
    assert "lpips_background: – (needs lpips-squeeze;" in report
    assert report.count("python -m jaxedit.convert") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--scores=beauty", "--scores=beauty: expected some of"),
        ("--scores=psnr_back", "--scores=psnr_back: did you mean psnr_background?"),
        ("--types=nothing", "--types=nothing: expected some of"),
        ("--limit=0", "--limit=0: expected 1 or more"),
        ("--option=count", "--option=count: expected NAME=VALUE"),
        ("--limit=-1", "--limit=-1: expected 1 or more"),
        ("--judge_attempts=0", "--judge_attempts=0: expected 1 or more"),
        ("--judge_timeout=nan", "--judge_timeout=nan: expected a number above 0"),
        ("--max_failed_frac=2", "--max_failed_frac=2.0: expected 0 to 1"),
        ("--seed=-1", "seed=-1: expected 0 to"),
        (f"--out={__file__}", "test_evaluation.py: expected a folder, but"),
        (f"--out={__file__}/x", "test_evaluation.py/x: expected a folder, but"),
        (f"--data={__file__}", "test_evaluation.py: not a directory: expected pairs as"),
        ("--predictions=nowhere", "--predictions=nowhere: expected a folder"),
        ("--judge=openai", "--judge_model is missing"),
        ("--judge=openai --judge_model=x", "environment variable OPENAI_API_KEY is not set"),
        ("--judge=openai --judge_model=x --judge_key_env=sk-1", "expected the name of an"),
        ("--judge=file --judge_model=x --judge_replies=none", "none: expected a file of responses"),
        ("--images=nowhere", "--images=nowhere: expected a folder"),
    ],
)
def test_bad_arguments(change, message, data, tmp_path, capsys):
    given = [*arguments(data, tmp_path / "out", f"--images={tmp_path}"), *change.split()]
    assert command.main(given) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_options_of_another_method(tmp_path, capsys):
    given = arguments(tmp_path / "toys", tmp_path / "out", "--model=toy-varedit", "--tau_js=0.5")
    assert command.main(given) == 2
    assert "tau_js=0.5: an option of method varedit+erec or editar+erec" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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
    given = ["--benchmark=pie-bench", f"--data={tmp_path / 'empty'}", f"--images={tmp_path}"]
    assert command.main([*given, f"--out={tmp_path / 'out'}"]) == 2
    assert "mapping_file.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_shards_make_what_a_whole_run_makes(results, data, tmp_path):
    images = copied(results, tmp_path / "theirs")
    out = tmp_path / "run"
    given = arguments(data, out, f"--images={images}")
    assert command.main([*given, "--shard=1/3"]) == 0
    assert not (out / "report.md").exists() and (out / "score_cache.1-of-3.jsonl").exists()
    assert command.main([*given, "--workers=3"]) == 0
    lines = [len(path.read_text().splitlines()) for path in out.glob("score_cache.*-of-3.jsonl")]
    assert sum(lines) == COUNT  # nothing twice
    ours, theirs = summary_of(results)["scores"], summary_of(out)["scores"]
    assert {name: ours[name] for name in theirs} == theirs


def test_two_runs_do_not_share_a_folder(results, data, capsys):
    with (results / ".score_cache.jsonl.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert command.main(arguments(data, results, "--model=toy-varedit")) == 2
    assert "another run writes there" in capsys.readouterr().err


def test_the_page_shows_texts_as_they_are(tmp_path):
    from jaxedit.evaluate.page import Shown, page

    sample = {"key": "k", "instruction": "</script><b>", "scores": {"mse": 0.1}, "pictures": {}}
    table, scores = [["", "a"], ["add <", "2"], ["all", "1"]], {"mse": Shown(1e4, 2, False)}
    text = page("<title>", "s", table, [sample], scores | {"psnr": Shown(1, 2, True)})
    assert '"mse": {"factor": 10000.0, "decimals": 2' in text and "psnr" not in text
    assert "</script><b>" not in text and "&lt;title&gt;" in text
    assert "<button>a</button></th>" in text and '<th scope="row">add &lt;</th><td>2</td>' in text
    assert '<tfoot><tr><th scope="row">all</th><td>1</td></tr></tfoot>' in text
    assert pathlib.Path(command.__file__).with_name("page.html").exists()
