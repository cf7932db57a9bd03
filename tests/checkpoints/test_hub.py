import json
import pathlib
import shutil

import huggingface_hub
import pytest
from etils import epath
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError

from jaxedit import assets
from jaxedit.checkpoints import hub
from jaxedit.config import OFFICIAL, WeightSource

TOY = assets.ROOT / "toy-varedit"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the Hub, and no network: `cache(repo, directory)` puts a repository in."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # of what is converted

    def put(repo: str, directory: pathlib.Path) -> pathlib.Path:
        folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text("0" * 40)
        return shutil.copytree(directory, folder / "snapshots" / ("0" * 40))

    return put


def test_bundled_names_and_directories(tmp_path):
    assert hub.resolve("toy-varedit") == TOY
    copy = shutil.copytree(TOY, tmp_path / "copy")
    assert hub.resolve(copy) == copy and hub.resolve(str(copy)) == copy


def test_a_directory_goes_before_an_official_name(tmp_path, monkeypatch):
    shutil.copytree(TOY, tmp_path / "flan-t5-xl")
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("flan-t5-xl") == pathlib.Path("flan-t5-xl")


def test_a_converted_release_is_found_again(cache):
    shutil.copytree(TOY, hub.converted("varedit-2b-512"))
    assert hub.resolve("varedit-2b-512") == hub.converted("varedit-2b-512")


def test_files_that_are_not_there(tmp_path, cache):
    (tmp_path / "a.pth.part").write_bytes(b"")
    for find in (hub.resolve, hub.locate):
        with pytest.raises(FileNotFoundError, match="but the incomplete download a.pth.part"):
            find(tmp_path / "a.pth")
        with pytest.raises(FileNotFoundError, match="b.pth': no such file"):
            find(tmp_path / "b.pth")


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_what_a_remote_file_system_needs(monkeypatch, scheme, package):
    def absent(self):
        raise ImportError("no module")

    monkeypatch.setattr(epath, "Path", lambda text: type("P", (), {"exists": absent})())
    with pytest.raises(OSError, match=rf"{scheme}://b/m: needs a package: pip install {package} "):
        hub.resolve(f"{scheme}://b/m")


def test_our_models_on_the_hub(cache):
    snapshot = cache("me/model", TOY)
    assert hub.resolve("me/model") == snapshot


def test_other_models_on_the_hub(cache, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text('{"model_type": "t5"}')
    cache("me/t5", tmp_path / "other")
    with pytest.raises(ValueError, match="'me/t5': not a model of jaxedit; .* --src=me/t5"):
        hub.resolve("me/t5")


def test_a_release_on_the_hub_is_told_its_names(cache):
    with pytest.raises(FileNotFoundError, match="expected one of varedit-2b-512, varedit-8b-512"):
        hub.resolve("HiDream-ai/VAREdit")


@pytest.mark.parametrize(
    "name, message",
    [
        ("absent", r"'absent': expected a bundled name \(.*toy-varedit.*\), a directory, gs://"),
        ("me/absent", "'me/absent': not a directory here, .*HF_HUB_OFFLINE is set"),
        ("foo://bucket/model", "expected gs:// or a path on this machine"),
    ],
)
def test_what_is_not_there(cache, name, message):
    with pytest.raises(FileNotFoundError, match=message) as error:
        hub.resolve(name)
    assert "\n" not in str(error.value)


def test_without_network_a_release_says_all_that_it_takes(cache):
    with pytest.raises(FileNotFoundError) as error:
        hub.resolve("editar-512")
    message = str(error.value)
    for source in OFFICIAL["editar-512"].sources:
        assert source.place in message
    assert "python -m jaxedit.convert --settings=editar-512 --src=editar_release.pt" in message
    assert f"--dst={hub.converted('editar-512')}" in message and "\n" not in message


def test_a_repository_that_does_not_exist(cache, monkeypatch):
    def absent(*_, **__):
        raise RepositoryNotFoundError("404\nmore", response=Answer())

    class Answer:
        headers, request = {}, None

    monkeypatch.setattr(huggingface_hub, "snapshot_download", absent)
    with pytest.raises(FileNotFoundError, match="'me/x': neither a directory here nor a repos"):
        hub.resolve("me/x")


def test_parts_of_repositories(cache, tmp_path):
    release = tmp_path / "release"
    (release / "folder").mkdir(parents=True)
    for name in ("a.pth", "folder/model.safetensors", "model.bin", "config.json"):
        (release / name).write_text(json.dumps({}))
    snapshot = cache("org/release", release)
    assert hub.locate("org/release/a.pth") == snapshot / "a.pth"
    assert hub.locate("org/release/folder") == snapshot / "folder"
    assert hub.locate("org/release") == snapshot
    assert hub.fetch_source(WeightSource("vq", "org/release", "a.pth", "mit")) == snapshot / "a.pth"
    with pytest.raises(FileNotFoundError, match="org/release/b.pth: the Hub .* has no such file"):
        hub.locate("org/release/b.pth")
    (snapshot / "model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected \*.safetensors or \*.bin"):
        hub.locate("org/release")


def test_local_sources(tmp_path):
    file = tmp_path / "a.pth"
    file.touch()
    assert hub.locate(file) == file and hub.locate("toy-varedit") == TOY
    with pytest.raises(FileNotFoundError, match="'b.pth': no such file or directory"):
        hub.locate("b.pth")
    with pytest.raises(FileNotFoundError, match="not on the Hub, to be fetched by hand"):
        hub.fetch_source(OFFICIAL["editar-512"].sources[0])
