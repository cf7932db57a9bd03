"""Benchmarks that are JSON lists beside picture files: MagicBrush and ImgEdit-Bench."""

import json

import pytest

from jaxedit.config import ConfigError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def turn(name, k):
    return {
        "input": f"{name}-{'input' if k == 1 else f'output{k - 1}'}.png",
        "mask": f"{name}-mask{k}.png",
        "output": f"{name}-output{k}.png",
        "instruction": f"edit {k}",
    }


@pytest.fixture
def magicbrush(tmp_path):
    """The unpacked archive: a conversation of two turns and one of a single turn."""
    test = tmp_path / "test"
    sessions = {"139": [turn("139", 1), turn("139", 2)], "7": [turn("7", 1)]}
    captions = {
        name: {item["output"]: f"caption {item['output']}" for item in session}
        for name, session in sessions.items()
    }
    names = [item[role] for turns in sessions.values() for item in turns for role in item]
    touch(*(test / "images" / n.split("-")[0] / n for n in names if n.endswith(".png")))
    (test / "edit_sessions.json").write_text(json.dumps(sessions))
    (test / "global_descriptions.json").write_text(json.dumps(captions))
    return tmp_path


def test_all_turns_start_from_published_sources(read, magicbrush):
    first, second, other = read("magicbrush", magicbrush).samples
    assert [first.key, second.key, other.key] == ["139/139_1", "139/139_inde_2", "7/7_1"]
    folder = magicbrush / "test/images/139"
    assert second.source == folder / "139-output1.png" == first.target
    assert second.target_prompt == "caption 139-output2.png"
    assert second.source_prompt == first.target_prompt and first.source_prompt == ""
    assert second.type == "turn 2"


def test_final_turns_are_the_last_of_each_chain(read, magicbrush):
    benchmark = read("magicbrush", magicbrush / "test", turns="final")
    assert [sample.key for sample in benchmark.samples] == ["139/139_iter_2", "7/7_1"]
    assert not benchmark.is_editable and read("magicbrush", magicbrush).is_editable
    with pytest.raises(ConfigError, match="turns=last: expected all or final"):
        read("magicbrush", magicbrush, turns="last")


def test_what_is_missing_in_magicbrush_is_named(read, magicbrush):
    (magicbrush / "test/images/7/7-output1.png").unlink()
    with pytest.raises(ConfigError, match=r"7-output1.png: no such file.*\(1 of 6 are missing\)"):
        read("magicbrush", magicbrush)
    captions = magicbrush / "test/global_descriptions.json"
    captions.write_text('{"139": {}}')
    with pytest.raises(ConfigError, match="item 139: expected a text 139-output1.png"):
        read("magicbrush", magicbrush)
    captions.unlink()
    with pytest.raises(ConfigError, match="expected global_descriptions.json"):
        read("magicbrush", magicbrush)
    (magicbrush / "test/edit_sessions.json").write_text('{"139": {}}')
    captions.write_text('{"139": {}}')
    with pytest.raises(ConfigError, match="item 139: expected a list of turns"):
        read("magicbrush", magicbrush)


BASIC = {"1082": {"id": "animal/1.jpg", "prompt": "smooth its shell", "edit_type": "adjust"}}
UGE = {"1": {"id": "29.jpg", "prompt": "remove the lemon slice"}}


@pytest.mark.parametrize(
    ("listed", "pictures"),
    [
        ("Benchmark/singleturn/singleturn.json", "Benchmark/singleturn"),
        ("singleturn.json", "."),
        ("basic_edit.json", "original_images"),
        ("Benchmark/Basic/basic_edit.json", "Benchmark/singleturn"),
    ],
)
def test_the_basic_suite_may_be_the_archive_or_the_repository(read, tmp_path, listed, pictures):
    picture = tmp_path / pictures / "animal/1.jpg"
    touch(tmp_path / listed, picture)
    (tmp_path / listed).write_text(json.dumps(BASIC))
    (sample,) = read("imgedit-bench", tmp_path).samples
    assert (sample.key, sample.type) == ("1082", "adjust")
    assert sample.source == picture and sample.instruction == "smooth its shell"


@pytest.mark.parametrize("listed", ["UGE_edit.json", "Benchmark/UGE/UGE_edit.json"])
def test_the_uge_suite_has_no_types(read, tmp_path, listed):
    picture = tmp_path / "Benchmark/hard/29.jpg"
    touch(tmp_path / listed, picture)
    (tmp_path / listed).write_text(json.dumps(UGE))
    (sample,) = read("imgedit-uge", tmp_path).samples
    assert (sample.key, sample.type, sample.source) == ("1", "", picture)


def test_what_is_missing_in_imgedit_bench_is_named(read, tmp_path):
    with pytest.raises(ConfigError, match="expected singleturn/singleturn.json or"):
        read("imgedit-bench", tmp_path)
    (tmp_path / "basic_edit.json").write_text(json.dumps(BASIC))
    with pytest.raises(ConfigError, match="animal/1.jpg: no such file: expected a picture"):
        read("imgedit-bench", tmp_path)
    (tmp_path / "basic_edit.json").write_text(json.dumps({"1": UGE["1"]}))
    with pytest.raises(ConfigError, match="item 1: expected a text edit_type"):
        read("imgedit-bench", tmp_path)
