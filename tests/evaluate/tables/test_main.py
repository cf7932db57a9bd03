"""The command, its formats and its figures."""

import csv
import io

import pytest
from summaries import PIE_SCORES, write, write_judged

from jaxedit.evaluate.tables import figures
from jaxedit.evaluate.tables.__main__ import main
from jaxedit.evaluate.tables.folder import read_folder


def test_all_tables_that_fit(tmp_path, capsys):
    folder = write(tmp_path / "a", PIE_SCORES)
    assert main([str(folder)]) == 0
    out = capsys.readouterr().out
    titles = [line.partition(":")[0] for line in out.splitlines() if line.startswith("###")]
    erec = [f"### ERec (Editing by Reconstruction), Table {i}" for i in (1, 2, 4, 5, 6, 7, 8, 9)]
    assert len(titles) == 10 and titles[2:] == erec
    assert out.count(f"**editar-512 ({folder})**") == 10


def test_markdown(tmp_path, capsys):
    folder = write(tmp_path / "a", PIE_SCORES, samples=3)
    assert main([str(folder), "--table=erec-table9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| Kernel size | Method ")
    assert lines[4].startswith("| 3           | ERec ")
    assert lines[6].startswith(f"| **–** [2]   | **editar-512 ({folder})** [3] | **26.52**")
    assert len({len(line) for line in lines[2:7]}) == 1
    assert lines[-1] == "[3] 3 of pie-bench's 700 edits"


def test_csv_in_a_file(tmp_path, capsys):
    folder, out = write(tmp_path / "a", PIE_SCORES), tmp_path / "t.csv"
    assert main([str(folder), "--table=erec-table1", "--format=csv", f"--out={out}"]) == 0
    assert capsys.readouterr().out == f"{out}: erec-table1\n"
    rows = list(csv.reader(io.StringIO(out.read_text("utf-8"))))
    assert rows[0][:4] == ["erec-table1", "Method", "T2I model", "Distance ↓"]
    assert rows[1][:4] == ["published", "Prompt-to-Prompt", "SD1.4", "88.46"]
    assert rows[-1][0] == "ours" and rows[-1][3] == "26.52"
    assert rows[-1][-1] == "T2I model: not recorded with the results"
    assert len({len(row) for row in rows}) == 1


def test_published_tables_alone(capsys):
    assert main(["--table=varedit-table2"]) == 0
    out = capsys.readouterr().out
    assert out.count("| w/ SAR ") == 2 and "**" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no table fits the results (of none)"),
        (["GEDIT"], "no table fits the results (of gedit-bench): expected --table=NAME"),
        (["GEDIT", "--table=x"], "--table=x: expected one of varedit-table1, "),
        (["--table=varedit-figure4"], "is a figure: expected --out=FILE with .png, .svg, .pdf"),
        (["--table=varedit-figure5", "--out=x.md"], "is a figure: expected --out=FILE"),
        (["GEDIT", "--table=varedit-figure4", "--out=x.png"], "the scores of a judge"),
        (["GEDIT", "--table=varedit-figure5", "--out=x.png"], "results of emu-edit or pie-bench"),
        (["--table=varedit-figure4", "--out=x.png", "--format=csv"], "expected no --format=csv"),
        (
            ["--table=erec-table1", "--out=x.png"],
            "--out=x.png: expected --table=varedit-figure4 or",
        ),
        (["GEDIT", "--out=x.pdf"], "--out=x.pdf: expected --table=varedit-figure4 or"),
        (["--table=erec-table1", "--out=."], "--out=.: expected a file, found a folder"),
        (["nowhere"], "nowhere: no summary.json"),
        (["--format=latex"], "invalid choice"),
    ],
)
def test_bad_input(arguments, message, tmp_path, capsys):
    folder = write(tmp_path / "a", {"viescore_sc": 7.0}, "gedit-bench", 606)
    assert main([str(folder) if a == "GEDIT" else a for a in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def points(figure):
    return [
        tuple(map(float, point))
        for axes in figure.axes
        for points in axes.collections
        for point in points.get_offsets()
    ]


def test_successful_edits(tmp_path):
    """Of three edits two succeed, with 8 and 5 for the rest of the picture."""
    gpt = write_judged(tmp_path / "a", [(9.0, 8.0), (10.0, 5.0), (8.0, 10.0)], samples=3)
    toy = write_judged(tmp_path / "b", [(3.0, 8.0), (10.0, 6.0)], "toy", benchmark="toybox")
    figure = figures.draw_successful_edits([read_folder(gpt), read_folder(toy)])
    assert [axes.get_title() for axes in figure.axes] == ["pie-bench", "toybox"]
    assert points(figure) == [(2.0, 6.5), (1.0, 6.0)]


def test_damaged_scores_of_edits(tmp_path, capsys):
    folder = write_judged(tmp_path / "a", [(9.0, 8.0)])
    (folder / "per_sample.jsonl").write_text('{"key": "a"}\n')
    arguments = [str(folder), "--table=varedit-figure4", f"--out={tmp_path}/x.png"]
    assert main(arguments) == 2
    assert "per_sample.jsonl: damaged: expected the scores of each" in capsys.readouterr().err


def test_types(tmp_path):
    folder = write_judged(tmp_path / "a", [(9.0, 8.0)], benchmark="emu-edit", samples=3589)
    figure = figures.draw_types([read_folder(folder)])
    success, balance = figure.axes
    assert len(success.lines) == len(balance.lines) == 10  # nine published rows and ours
    assert list(success.lines[0].get_ydata())[:2] == [3.95, 4.034]  # global, add
    assert success.lines[-1].get_ydata()[1] == 9.0 and balance.lines[-1].get_ydata()[1] == 4.0


@pytest.mark.parametrize("name", ["varedit-figure4", "varedit-figure5"])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_figures_in_files(name, suffix, tmp_path, capsys):
    folder, out = write_judged(tmp_path / "a", [(9.0, 8.0)]), tmp_path / f"x.{suffix}"
    assert main([str(folder), f"--table={name}", f"--out={out}"]) == 0
    assert capsys.readouterr().out == f"{out}: {name}\n"
    head = {"png": b"\x89PNG", "svg": b"<?xml"}[suffix]
    assert out.read_bytes().startswith(head)
