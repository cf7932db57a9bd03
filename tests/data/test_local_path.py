import pathlib

import pytest

from jaxedit.config import ConfigError
from jaxedit.data.local_path import require_local


@pytest.mark.parametrize("path", ["stores/mine", "/data/a:b/c", "C:/stores", pathlib.Path("x:y")])
def test_paths(path):
    require_local(path, "--src")


@pytest.mark.parametrize("path", ["gs://bucket/x", "s3://b", "hf://datasets/a/b"])
@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_addresses(path, kind):
    with pytest.raises(ConfigError, match="--src=.*: expected a local path; copy it here, or mou"):
        require_local(kind(path), "--src")
