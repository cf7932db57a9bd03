import pytest

from jaxedit import config_file
from jaxedit.config import ConfigError, TrainConfig

HEAD = "from jaxedit.config import TrainConfig\n"
NAMED = HEAD + "RUNS = {'small': 1, 'large': 2}\n"


def write(directory, text, name="own.py"):
    (directory / name).write_text(text)
    return str(directory / name)


@pytest.mark.parametrize("path", config_file.installed(), ids=lambda path: path.name)
def test_installed_files_name_their_presets(path):
    file = config_file.load(f"configs/{path.name}")
    assert (file.preset, file.is_chosen) == ("tiny", False)
    assert file.name == f"{path.stem}-tiny" and len(file.others) > 0
    for preset in file.others:
        chosen = config_file.load(f"configs/{path.name}:{preset}")
        assert chosen.is_chosen and "tiny" in chosen.others and preset in path.read_text()
    with pytest.raises(ConfigError, match=f"unknown preset 'x': expected one of .*{preset}"):
        config_file.load(f"configs/{path.name}:x")


@pytest.mark.parametrize(
    ("text", "preset", "name"),
    [
        (HEAD + "def get_config(): return TrainConfig()", "", "own"),
        (HEAD + "def get_config(preset='a b/c'): return TrainConfig()", "a b/c", "own-a-b-c"),
        (HEAD + "def get_config(preset=None): return TrainConfig()", "", "own"),
        (NAMED + "def get_config(preset): return TrainConfig()", "small", "own-small"),
        (NAMED + "RUNS['tiny'] = 3\ndef get_config(p): return TrainConfig()", "tiny", "own-tiny"),
    ],
)
def test_files_of_users(text, preset, name, tmp_path):
    path = write(tmp_path, text)
    for argument in (path, f"{path}:"):
        file = config_file.load(argument)
        assert (file.preset, file.name, file.is_chosen) == (preset, name, False)
        assert file.config == TrainConfig()
    assert file.title == (f"{path}:{preset}" if preset else path)


@pytest.mark.parametrize(
    ("text", "argument", "message"),
    [
        ("def get_config(): return 3", "", "expected a TrainConfig"),
        ("x = 3", "", "expected a function get_config"),
        ("def get_config(preset): return 3", "", "needs a preset: expected --config=.*own.py:PRES"),
        ("def get_config(): return 3", ":large", "own.py has no presets"),
        ("\ndef get_config(:", "", "line 2: invalid syntax"),
        ("\n\nimport nowhere", "", "line 3: ModuleNotFoundError: No module named 'nowhere'"),
        ("def get_config(p='a'):\n  return {}[p]", ":b", "line 2: KeyError: 'b'"),
    ],
)
def test_one_line_says_what_is_wrong(text, argument, message, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as error:
        config_file.load(path + argument)
    assert str(error.value).startswith(f"--config={path}") and "\n" not in str(error.value)


def test_only_bare_names_mean_installed_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_file.load("var_sar.py:2b").name == "var_sar-2b"
    with pytest.raises(ConfigError, match=r"my/var_sar.py: no such file; installed .*var_sar.py"):
        config_file.load("my/var_sar.py:2b")
