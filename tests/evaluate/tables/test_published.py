"""The numbers of the papers, against themselves."""

import pytest

from jaxedit.evaluate.benchmarks import pie_bench
from jaxedit.evaluate.judges import JUDGES
from jaxedit.evaluate.scores.registry import SCORES
from jaxedit.evaluate.tables.published import read_tables

TABLES = read_tables()
PIE_COUNTS = dict(zip(pie_bench.TYPES, (140, 80, 80, 80, 40, 40, 40, 40, 80, 80), strict=True))
# Fitted to Tables 3 and 4
EMU_COUNTS = {
    "global": 219,
    "add": 533,
    "text": 534,
    "background": 373,
    "color": 519,
    "style": 434,
    "remove": 531,
    "local": 446,
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_are_whole(table):
    assert table.rows and table.source and table.about and table.benchmarks
    assert {column.benchmark for column in table.columns} <= {"", *table.benchmarks}
    for row in table.rows:
        for column, value in zip(table.columns, row, strict=True):
            is_text = not column.score
            assert value is None or isinstance(value, str) == is_text, (row, column)
            assert is_text or value is None or value == round(value, column.decimals)
    names = {column.name for column in table.columns}
    texts = {text for row in table.rows for text in row}
    for note in table.notes:
        assert set(note.columns) <= names and set(note.rows) <= texts


def test_columns_are_scores_in_the_papers_units():
    """VAREdit prints PIE-Bench's CLIP scores as cosines."""
    for name, table in TABLES.items():
        for column in table.columns:
            if (score := SCORES.get(column.score)) is None:
                assert column.score in ("", "seconds", *JUDGES["varedit"].scores)
            elif not (name.startswith("varedit") and column.benchmark == "pie-bench"):
                units = (column.factor, column.decimals)
                assert units == (score.factor, score.decimals), column


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_overall_is_the_mean_of_all_edits(number):
    """VAREdit's totals are those of its types; a misread digit would show."""
    table = TABLES[f"varedit-table{number}"]
    counts = EMU_COUNTS if number < 5 else PIE_COUNTS
    types = [column.type for column in table.columns if column.type]
    assert list(counts) == types
    for row in table.rows:
        whole, *values = row[1:]
        mean = sum(v * counts[t] for v, t in zip(values, types, strict=True)) / sum(counts.values())
        assert mean == pytest.approx(whole, abs=0.001)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("varedit-table3", "EMU-Edit GPT Suc. ↑"),
        ("varedit-table4", "EMU-Edit GPT Bal. ↑"),
        ("varedit-table5", "PIE-Bench GPT Suc. ↑"),
        ("varedit-table6", "PIE-Bench GPT Bal. ↑"),
    ],
)
def test_types_agree_with_table_1(table, column):
    first = TABLES["varedit-table1"]
    place = [c.name for c in first.columns].index(column)
    whole = [row[place] for row in first.rows if row[0] != "VAREdit (256px)"]
    assert whole == [row[1] for row in TABLES[table].rows]


def test_erecs_tables_repeat_each_other():
    rows = {name: table.rows for name, table in TABLES.items()}
    assert set(rows["erec-table2"]) < set(rows["erec-table5"])
    default = rows["erec-table9"][0][2:]
    for name, value in (("6", "0.7"), ("7", "3"), ("8", "10")):
        assert [row[2:] for row in rows[f"erec-table{name}"] if row[0] == value] == [default]
    assert rows["erec-table1"][-1] == (
        "ERec",
        "LlamaGen",
        26.52,
        26.63,
        76.5,
        75.24,
        88.2,
        24.13,
        21.44,
    )
