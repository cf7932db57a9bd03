"""What the tests of training share."""

import jax
import pytest


@pytest.fixture(scope="module")
def compile_once(tmp_path_factory):
    """Keep compiled programs, as every command does; returns their directory."""
    before = jax.config.jax_compilation_cache_dir
    directory = str(tmp_path_factory.mktemp("cache"))
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield directory
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
