import jax
import pytest

from jaxedit import compile_cache


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """Make this the directory that was chosen before; relative ones would lie in tmp_path."""
    monkeypatch.chdir(tmp_path)
    before = jax.config.jax_compilation_cache_dir
    yield lambda directory: jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_directory_is_made(chosen, tmp_path):
    chosen(None)
    compile_cache.enable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "a" / "b")
    compile_cache.enable(tmp_path / "c")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "a" / "b")
    assert compile_cache.where() == f"kept in {tmp_path / 'a' / 'b'}"


def test_a_bucket_stays_a_bucket(chosen, tmp_path):
    chosen("gs://bucket/cache")
    compile_cache.enable()
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/cache"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("directory", ["file", "file/cache", "/proc/cache", "~nobody-has-it/cache"])
@pytest.mark.parametrize("is_chosen", [False, True])
def test_a_directory_that_cannot_be_written_is_not_used(chosen, tmp_path, directory, is_chosen):
    (tmp_path / "file").touch()
    chosen(directory if is_chosen else None)
    compile_cache.enable(*([] if is_chosen else [directory]))
    assert jax.config.jax_compilation_cache_dir is None
    assert compile_cache.where().startswith("not kept: ")
