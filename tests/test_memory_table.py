import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def test_the_tables_are_what_their_command_makes():
    path = ROOT / "benchmarks" / "memory_table.py"
    spec = importlib.util.spec_from_file_location("memory_table", path)
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    for page in table.PAGES:
        text = page.read_text("utf-8")
        assert table.with_sizes(text) == text, "run python benchmarks/memory_table.py --write"
