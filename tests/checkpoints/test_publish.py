import shutil

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalTokenNotFoundError

from jaxedit import assets
from jaxedit.checkpoints.model_card import model_card
from jaxedit.checkpoints.pretrained import read_config
from jaxedit.checkpoints.publish import push_to_hub
from jaxedit.config import ConfigError
from jaxedit.convert import __main__ as command

TOY = assets.ROOT / "toy-varedit"


class Hub:
    """What `HfApi` is, without a network."""

    made, commits, failure = {}, [], None

    def create_repo(self, repo, *, private, exist_ok):
        if self.failure:
            raise self.failure
        assert exist_ok
        self.made[repo] = private
        return f"https://huggingface.co/{repo}"

    def create_commit(self, repo, operations, *, commit_message):
        content = {o.path_in_repo: o.path_or_fileobj for o in operations}
        self.commits.append((repo, content, commit_message))


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(Hub, "made", {})
    monkeypatch.setattr(Hub, "commits", [])
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return Hub


def test_the_command_publishes_a_whole_model_in_one_commit(hub, capsys):
    arguments = ["--src=toy-varedit", "--push_to_hub=me/my-editor", "--private"]
    assert command.main(arguments) == 0
    assert hub.made == {"me/my-editor": True}
    [(repo, content, _)] = hub.commits
    assert repo == "me/my-editor"
    assert set(content) == {path.name for path in TOY.iterdir()}
    assert content["config.json"] == str(TOY / "config.json")
    out = capsys.readouterr().out
    assert "https://huggingface.co/me/my-editor: use it by --model=me/my-editor" in out


def test_the_card_names_the_repository(hub, tmp_path):
    model = shutil.copytree(TOY, tmp_path / "export")
    config = read_config(model)
    (model / "README.md").write_text(model_card("export", config, {}, {}), "utf-8")
    push_to_hub(model, "me/my-editor", say=lambda line: None)
    card = hub.commits[0][1]["README.md"].decode()
    assert "\n# my-editor\n" in card and "--model=me/my-editor\n" in card
    assert 'from_pretrained("me/my-editor")' in card and "export" not in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--push_to_hub=editor"], "'editor': expected org/name, a repository of the Hub"),
        (["--push_to_hub=me/e", "--export=torch"], "expected no --export beside it"),
        (["--push_to_hub=me/e", "--src=toy-editar"], "expected one model to publish, or a --dst"),
        (["--private"], "--private: expected --push_to_hub beside it"),
    ],
)
def test_bad_arguments(hub, capsys, arguments, message):
    assert command.main(["--src=toy-varedit", *arguments]) == 2
    assert message in capsys.readouterr().err and not hub.commits


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (LocalTokenNotFoundError("no"), "'me/e': not published: run hf auth login, or set HF_TOKE"),
        (RuntimeError("403 Forbidden\nlong"), "'me/e': not published: 403 Forbidden$"),
    ],
)
def test_what_the_hub_refuses(hub, monkeypatch, failure, message):
    monkeypatch.setattr(Hub, "failure", failure)
    with pytest.raises(OSError, match=message):
        push_to_hub(TOY, "me/e")


def test_what_is_no_model(hub, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="expected the settings of a jaxedit model"):
        push_to_hub(tmp_path, "me/e")
    assert not hub.commits
