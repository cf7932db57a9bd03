import json

import pytest
from summaries import PIE_SCORES, mean, write, write_judged

from jaxedit.config import ConfigError
from jaxedit.evaluate.tables.folder import read_folder
from jaxedit.evaluate.tables.published import read_tables
from jaxedit.evaluate.tables.rows import is_scored, our_rows, published_rows

TABLES = read_tables()


def texts(row):
    return [cell.text for cell in row]


def notes(row):
    return [note for cell in row for note in cell.notes]


def test_means_in_the_papers_units(tmp_path):
    """ERec's own means give its own row."""
    folder = read_folder(write(tmp_path / "a", PIE_SCORES))
    table = TABLES["erec-table1"]
    (row,) = our_rows(table, [folder])
    assert texts(row)[:2] == [f"editar-512 ({tmp_path}/a)", "–"]
    assert texts(row)[2:] == texts(published_rows(table)[-1])[2:]
    assert notes(row) == ["not recorded with the results"]


def test_clip_scores_of_varedit_are_cosines(tmp_path):
    folder = read_folder(write(tmp_path / "a", PIE_SCORES))
    (row,) = our_rows(TABLES["varedit-table1"], [folder])
    cells = dict(zip([c.name for c in TABLES["varedit-table1"].columns], row, strict=True))
    assert cells["PIE-Bench CLIP Whole ↑"].text == "0.241"
    assert cells["PIE-Bench GPT Suc. ↑"] == ("–", ("gpt_suc was not scored",))
    assert cells["EMU-Edit CLIP Out. ↑"] == ("–", ("no results of emu-edit",))
    assert cells["Time (s)"].text == "–"


def test_benchmarks_share_the_row_of_a_model(tmp_path):
    emu = {"clip_out": 0.2824, "clip_dir": {"unavailable": "needs clip"}}
    folders = [
        read_folder(write(tmp_path / "pie", PIE_SCORES, guidance=3.0)),
        read_folder(write(tmp_path / "emu", emu, "emu-edit", 3589, guidance=3.0)),
        read_folder(write(tmp_path / "other", emu, "emu-edit", 3589, guidance=4.0)),
    ]
    first, second = our_rows(TABLES["varedit-table1"], folders)
    assert texts(first)[0] == f"editar-512 ({tmp_path}/pie, {tmp_path}/emu)"
    assert texts(first)[2] == "0.282" and texts(first)[7] == "0.241"
    assert first[3] == ("–", ("clip_dir needs clip",))
    assert texts(second)[0] == f"editar-512 ({tmp_path}/other)" and texts(second)[7] == "–"


def test_types_have_columns(tmp_path):
    scores = {"gpt_suc": mean(6.0, {"add": 7.125, "random": 5.0})}
    folder = read_folder(write(tmp_path / "a", scores))
    (row,) = our_rows(TABLES["varedit-table5"], [folder])
    assert texts(row)[1:5] == ["6.000", "5.000", "–", "7.125"]
    assert row[3].notes == ("no edits of the type modify",)


def test_settings_have_columns(tmp_path):
    folders = [
        read_folder(write(tmp_path / "a", PIE_SCORES, tau_js=0.75)),
        read_folder(write(tmp_path / "b", PIE_SCORES)),
    ]
    given, unknown = our_rows(TABLES["erec-table6"], folders)
    assert given[0].text == "0.75"
    assert unknown[0] == ("–", ("tau_js is not recorded with the results",))


def test_toybox_is_shown_and_marked(tmp_path):
    folder = read_folder(
        write_judged(tmp_path / "a", [(10.0, 8.0)], "toy", benchmark="toybox", samples=1)
    )
    table = TABLES["varedit-table2-pie-bench"]
    (row,) = our_rows(table, [folder])
    assert texts(row)[1:4] == ["10.000", "8.000", "5.000"]
    assert "not comparable" in row[0].notes[0]
    assert is_scored(table, [folder]) and not is_scored(TABLES["varedit-table3"], [folder])


def test_parts_of_a_benchmark_and_infinite_values_are_marked(tmp_path):
    scores = {"psnr_background": mean(30.0, mean="inf", n_inf=2), "mse_background": mean("nan")}
    folder = read_folder(write(tmp_path / "a", scores, samples=20))
    (row,) = our_rows(TABLES["editar-table1"], [folder])
    assert row[0].notes == ("20 of pie-bench's 700 edits",)
    assert row[3] == ("30.00", ("without 2 edits of infinite value",))
    assert row[5] == ("–", ("mse_background is not defined for any edit",))


def test_scores_of_all_edits_together(tmp_path):
    scores = {"fid": {"mean": 15.965, "n": 5000}}
    folder = read_folder(write(tmp_path / "a", scores, "multigen-depth", 5000))
    (row,) = our_rows(TABLES["editar-translation"], [folder])
    assert row[1] in [("15.96", ()), ("15.97", ())]


def test_doubtful_numbers_have_footnotes():
    rows = published_rows(TABLES["erec-table4"])
    (misprint,) = [row for row in rows if row[0].text == "+ NLL_low"]
    assert misprint[-1].text == "24.42" and "misprint of 21.42" in misprint[-1].notes[0]
    assert not any(notes(row) for row in rows if row[0].text == "ERec")
    for row in published_rows(TABLES["erec-table5"]):
        assert bool(row[3].notes) == (row[1].text == "ERec") == bool(row[6].notes)
    assert published_rows(TABLES["editar-translation"])[-1][2].text == "–"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("benchmark", None),
        ("samples", "many"),
        ("missing", 3),
        ("scores", []),
        ("scores", {"a": {}}),
        ("scores", {"a": {"mean": "x"}}),
        ("scores", {"a": {"mean": 1.0, "types": []}}),
        ("settings", 1),
    ],
)
def test_damaged_summaries(name, value, tmp_path):
    file = write(tmp_path / "a", PIE_SCORES) / "summary.json"
    summary = json.loads(file.read_text())
    del summary[name]
    damaged = summary if value is None else summary | {name: value}
    for text in (json.dumps(damaged), json.dumps([damaged]), json.dumps(damaged)[:-1], ""):
        file.write_text(text)
        with pytest.raises(ConfigError, match="summary.json: damaged: expected what"):
            read_folder(file.parent)


def test_missing_summary(tmp_path):
    with pytest.raises(ConfigError, match=r"x: no summary\.json: expected what"):
        read_folder(tmp_path / "x")
