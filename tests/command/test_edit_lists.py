"""Lists of edits: `python -m jaxedit --batch`."""

import json
import subprocess
import sys
import time

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


def test_a_killed_list_keeps_its_rows(here, tiny_model):
    rows = [{"image": "photo.png", "instruction": WORDS, "output": f"{i}.png"} for i in range(999)]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command_line = [sys.executable, "-m", "jaxedit", "--batch=list.jsonl", "--output=out"]
    process = subprocess.Popen([*command_line, f"--model={tiny_model}"], stdout=subprocess.DEVNULL)
    manifest = here / "out/manifest.jsonl"
    while process.poll() is None and not (manifest.exists() and len(outputs_in(manifest)) > 3):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    noted, there = set(outputs_in(manifest)), {path.name for path in here.glob("out/*.png")}
    assert noted <= there and len(there) <= len(noted) + 1 < 999


def test_lists_keep_the_size_of_their_pictures_if_asked(run_editar, here):
    Image.new("RGB", (10, 30), "blue").save(here / "tall.png")
    rows = [{"image": name, "instruction": WORDS} for name in ("photo.png", "tall.png")]
    (here / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for given, sizes in (((), [(16, 16)] * 2), (("--keep_size",), [(40, 24), (10, 30)])):
        output = f"out{len(given)}"
        assert run_editar("--batch", "list.jsonl", "--output", output, *given)[0] == 0
        names = ("0000-photo.png", "0001-tall.png")
        assert [photo.read(f"{output}/{name}").size for name in names] == sizes
