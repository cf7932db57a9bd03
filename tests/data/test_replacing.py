import pytest

from jaxedit.data.replacing import replacing


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old" and part.parent == tmp_path
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_block_that_fails_changes_nothing(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        with replacing(path) as part:
            part.write_text("new")
            raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_the_system_says_is_told_in_one_line(tmp_path):
    with pytest.raises(OSError, match="none/a.txt: not written: No such file or directory$"):
        with replacing(tmp_path / "none" / "a.txt") as part:
            part.write_text("new")
