"""Lists of edits: `python -m jaxedit --batch`."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from jaxedit.data.pictures import photo

WORDS = "make the ball blue"


def test_a_list_finishes_its_good_rows(run, here):
    rows = [
        {"image": "photo.png", "instruction": WORDS, "seed": 3},
        {"image": "absent.png", "instruction": WORDS},
        {"image": "photo.png", "instruction": "remove the star", "output": "sub/star.png"},
        {"image": "photo.png"},
        {"image": "photo.png", "instruction": " "},
    ]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, err = run("--batch", "list.jsonl", "--output", "out", "--guidance", "1.5")
    assert code == 2 and "out: 2 of 5 edited" in out
    assert len(err.splitlines()) == 3 and "list.jsonl:2: absent.png: No such file" in err
    entries = [json.loads(line) for line in (here / "out/manifest.jsonl").read_text().splitlines()]
    assert [e["status"] for e in entries] == ["ok", "failed", "ok", "failed", "failed"]
    assert entries[0]["seed"] == 3 and entries[2]["seed"] == 2
    assert entries[2]["output"] == "sub/star.png" and (here / "out/sub/star.png").is_file()
    run("photo.png", WORDS, "--seed", "3", "--guidance", "1.5")
    assert (here / "edited.png").read_bytes() == (here / "out/0000-photo.png").read_bytes()
    assert run("--from_png", "out/sub/star.png")[0] == 0


def outputs_in(manifest):
    """The output of each whole line, None of a row that failed."""
    lines = manifest.read_text().splitlines()
    return [json.loads(line).get("output") for line in lines if line.endswith("}")]


def test_a_list_goes_on_where_it_was_stopped(run, here):
    rows = [{"image": "photo.png", "instruction": WORDS, "output": f"{i}.png"} for i in range(3)]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    batch, manifest = ("--batch", "list.jsonl", "--output", "out"), here / "out/manifest.jsonl"
    assert run(*batch)[0] == 0
    first = [(here / f"out/{i}.png").read_bytes() for i in range(3)]
    code, out, _ = run(*batch)
    assert code == 0 and "3 of 3 rows were done before" in out and "loaded" not in out

    (here / "out/1.png").unlink()  # a picture is lost, and the end of the manifest too
    manifest.write_text(manifest.read_text()[:-40])
    code, out, _ = run(*batch)
    assert code == 0 and "1 of 3 rows were done before" in out and "2 of 2 edited" in out
    assert [(here / f"out/{i}.png").read_bytes() for i in range(3)] == first
    assert outputs_in(manifest)[-2:] == ["1.png", "2.png"]

    assert "3 of 3 edited" in run(*batch, "--guidance=2")[1]  # another request
    assert (here / "out/0.png").read_bytes() != first[0]
    assert "3 of 3 edited" in run(*batch, "--overwrite")[1]
    assert outputs_in(manifest) == ["0.png", "1.png", "2.png"]
    Image.new("RGB", (40, 24)).save("photo.png")  # another picture of the same name
    assert "3 of 3 edited" in run(*batch)[1]


def test_failed_rows_are_tried_again(run, here):
    rows = [{"image": name, "instruction": WORDS} for name in ("photo.png", "late.png")]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run("--batch", "list.jsonl")[0] == 2
    (here / "late.png").write_bytes((here / "photo.png").read_bytes())
    code, out, _ = run("--batch", "list.jsonl")
    assert code == 0 and "1 of 2 rows were done before" in out and "1 of 1 edited" in out


def test_lists_keep_the_size_of_their_pictures_if_asked(run_editar, here):
    Image.new("RGB", (10, 30), "blue").save(here / "tall.png")
    rows = [{"image": name, "instruction": WORDS} for name in ("photo.png", "tall.png")]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for given, sizes in (((), [(16, 16)] * 2), (("--keep_size",), [(40, 24), (10, 30)])):
        output = f"out{len(given)}"
        assert run_editar("--batch", "list.jsonl", "--output", output, *given)[0] == 0
        names = ("0000-photo.png", "0001-tall.png")
        assert [photo.read(f"{output}/{name}").size for name in names] == sizes


def list_of(here, count):
    rows = [{"image": "photo.png", "instruction": f"{WORDS} {i}"} for i in range(count)]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "--batch", "list.jsonl", "--output"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_of_two_shards_one_is_killed(run, here, tiny_model, monkeypatch):
    """Two processes share a folder; nothing is lost or made twice, and one manifest is left."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    batch, original = list_of(here, 12), (here / "photo.png").read_bytes()
    rows = (here / "list.jsonl").read_text().splitlines()
    rows[10] = rows[10].replace("photo.png", "pipe.png")  # at which shard 0 waits
    (here / "list.jsonl").write_text("\n".join(rows))
    os.mkfifo(here / "pipe.png")
    command_line = [sys.executable, "-m", "jaxedit", *batch, "out", "--shard=0/2"]
    process = subprocess.Popen([*command_line, f"--model={tiny_model}"], stdout=subprocess.DEVNULL)
    assert run(*batch, "out", "--shard=1/2")[0] == 0
    manifest = here / "out/manifest.0-of-2.jsonl"
    while process.poll() is None and not (manifest.exists() and len(outputs_in(manifest)) > 1):
        time.sleep(0.01)
    process.kill()  # while it makes a picture, or waits
    assert process.wait() == -9
    noted = {name for i in (0, 1) for name in outputs_in(here / f"out/manifest.{i}-of-2.jsonl")}
    there = {path.name for path in here.glob("out/*.png")}
    assert noted <= there and 8 <= len(noted) <= 11 and len(there) <= len(noted) + 1

    (here / "pipe.png").unlink()
    (here / "pipe.png").write_bytes(original)
    code, out, _ = run(*batch, "out")
    assert code == 0 and f"{len(noted)} of 12 rows were done before" in out
    assert f"{12 - len(noted)} of {12 - len(noted)} edited" in out
    made = outputs_in(here / "out/manifest.jsonl")
    assert sorted(made) == sorted({path.name for path in here.glob("out/*.png")})
    assert len(made) == 12 and not list(here.glob("out/manifest.*-of-*.jsonl"))


def test_shards_make_what_a_whole_run_makes(run, here):
    batch = list_of(here, 5)
    assert run(*batch, "whole")[0] == 0
    assert "out: 2 of 2 edited" in run(*batch, "out", "--shard=1/2")[1]
    assert "2 of 2 rows were done before" in run(*batch, "out", "--shard=1/2")[1]
    assert not (here / "out/manifest.jsonl").read_text()
    assert "3 of 3 edited" in run(*batch, "out", "--shard=0/2")[1]
    code, out, _ = run(*batch, "out")
    assert code == 0 and "5 of 5 rows were done before" in out and "loaded" not in out
    assert contents(here / "out") == contents(here / "whole")


def test_a_picture_of_another_run_is_made_again(run, here):
    batch = list_of(here, 2)
    assert run(*batch, "out")[0] == run(*batch, "other", "--guidance=2")[0] == 0
    first = contents(here / "out")
    # as if a run with other options was killed before it wrote its line
    (here / "other/0000-photo.png").replace(here / "out/0000-photo.png")
    assert "1 of 1 edited" in run(*batch, "out")[1]
    assert (here / "out/0000-photo.png").read_bytes() == first["0000-photo.png"]


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(run, here):
    batch = list_of(here, 4)
    photo_bytes = (here / "photo.png").read_bytes()
    rows = (here / "list.jsonl").read_text().replace("photo.png", "pipe.png", 4)
    rows = rows.replace("pipe.png", "photo.png", 3)  # the last row waits until it is killed
    (here / "list.jsonl").write_text(rows)
    os.mkfifo(here / "pipe.png")
    manifests = [here / f"out/manifest.{i}-of-2.jsonl" for i in range(2)]

    def kill():
        while not all(path.exists() for path in manifests) or (
            [len(outputs_in(path)) for path in manifests] != [2, 1]
        ):
            time.sleep(0.02)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    code, _, err = run(*batch, "out", "--workers=2")
    killer.join()
    assert code == 2 and "shard 1/2: its process was killed" in err
    (here / "pipe.png").unlink()
    (here / "pipe.png").write_bytes(photo_bytes)
    code, out, _ = run(*batch, "out")
    assert code == 0 and "3 of 4 rows were done before" in out and "1 of 1 edited" in out
    assert sorted(contents(here / "out"))[-1] == "manifest.jsonl"  # of shards there is none
    names = [f"{i:04}-photo.png" for i in range(3)] + ["0003-pipe.png"]
    assert outputs_in(here / "out/manifest.jsonl") == names


@pytest.mark.slow
def test_workers_make_what_one_process_makes(here, tiny_model):
    batch = list_of(here, 5)
    for folder, workers in (("one", 1), ("two", 2)):
        command_line = [sys.executable, "-m", "jaxedit", *batch, folder, f"--workers={workers}"]
        done = subprocess.run([*command_line, f"--model={tiny_model}"], capture_output=True)
        assert done.returncode == 0, done.stderr
    assert contents(here / "one") == contents(here / "two")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=0"], "workers=0: expected a positive whole number"),
        (["--shard=3/3"], "--shard: '3/3': expected I/N"),
        (["--shard=0/2", "--workers=2"], "--workers: not allowed with argument --shard"),
        (["--engine=ray"], "pip install 'jaxedit[ray]'"),
    ],
)
def test_workers_that_cannot_work(run, here, monkeypatch, arguments, message):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run(*list_of(here, 1), "out", *arguments)
    assert code == 2 and message in err and len(err.splitlines()) == 1
    assert not (here / "out").exists()


def test_workers_are_for_lists(run):
    code, _, err = run("photo.png", WORDS, "--workers=2")
    assert code == 2 and "--workers and --shard: expected --batch beside them" in err
