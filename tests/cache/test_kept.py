from jaxedit.cache import kept


def test_programs_are_counted_and_deleted_and_nothing_else(tmp_path):
    assert kept.kept_programs(tmp_path / "none") == kept.kept_programs(tmp_path) == []
    (tmp_path / "jit_a-cache").write_bytes(b"123")
    (tmp_path / "jit_a-atime").write_bytes(b"45")
    (tmp_path / "notes.txt").touch()
    (programs,) = kept.kept_programs(tmp_path)
    assert (programs.size, programs.place) == (5, tmp_path)
    programs.delete()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_models_are_listed_one_by_one_and_links_are_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "weights").write_bytes(b"1234567")
    models = tmp_path / "models"
    (models / "a" / "deep").mkdir(parents=True)
    (models / "a" / "deep" / "file").write_bytes(b"12")
    (models / "b").symlink_to(tmp_path / "outside")
    first, second = kept.kept_weights(models)
    assert (first.size, first.place.name, second.place.name) == (2, "a", "b")
    first.delete()
    second.delete()
    assert not list(models.iterdir())
    assert (tmp_path / "outside" / "weights").exists()
