import dataclasses

import numpy as np
import pytest

from jaxedit.data import toybox
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.toybox.render import middle
from jaxedit.data.toybox.scene import HELD_OUT, POSABLE

LEVELS = range(len(toybox.LEVELS))
ROWS = 200


def rows(level, n=ROWS, **kwargs):
    return [toybox.make(1, i, level, **kwargs) for i in range(n)]


@pytest.fixture(scope="module", params=LEVELS)
def pairs(request):
    return rows(request.param, is_perfect=True)


def kinds_and_colours(scene):
    return {(t.kind, t.colour) for _, t in scene.filled}


def test_rows_stay_what_they_are():
    pair = toybox.make(0, 2, 0, edit_type=6)
    assert pair.instruction == "make the ball blue"
    assert pair.scene.background == "night"
    assert [t and t.kind for t in pair.scene.toys] == ["heart", "ball", None, None]


def test_make_is_a_pure_function_of_all_its_arguments():
    def text(*args, **kwargs):
        return [toybox.make(*args[:1], i, *args[1:], **kwargs).scene for i in range(8)]

    a = toybox.make(3, 5, 1)
    b = toybox.make(3, 5, 1)
    assert a.scene == b.scene and a.instruction == b.instruction
    np.testing.assert_array_equal(a.target, b.target)
    streams = [text(3, 1), text(4, 1), text(3, 2), text(3, 1, split="test")]
    streams += [text(3, 1, task=task) for task in toybox.TASKS[1:]]
    assert all(x != y for i, x in enumerate(streams) for y in streams[:i])


def test_negative_seed_and_large_index():
    toybox.make(-1, 2**40, 0)


def test_pixels_change_only_inside_the_mask(pairs):
    for pair in pairs:
        changed = (pair.source != pair.target).any(-1)
        assert changed.any()
        assert not (changed & ~pair.mask).any()


def test_masks_by_type(pairs):
    for pair in pairs:
        if pair.edit_type == 9:
            assert pair.mask.all()
        elif pair.edit_type in range(1, 8):
            slots = pair.scene.grid**2
            assert 0 < pair.mask.mean() <= 26**2 / 32**2 / slots  # within one slot
        elif pair.edit_type == 8:
            assert 0.5 < pair.mask.mean() < 1


def test_every_type_occurs_and_changes_what_it_names(pairs):
    assert {p.edit_type for p in pairs} == set(range(10))
    names = {4: "face", 5: "pose", 6: "colour", 7: "texture", 1: "kind"}
    for pair in pairs:
        if pair.edit_type in names:
            name = names[pair.edit_type]
            ((before, after),) = [
                (a, b)
                for a, b in zip(pair.scene.toys, pair.target_scene.toys, strict=True)
                if a != b
            ]
            assert getattr(before, name) != getattr(after, name)
            assert before._replace(**{name: getattr(after, name)}) == after
            assert before.kind in pair.instruction.split()


def test_scenes_obey_their_level(pairs):
    level = toybox.LEVELS[pairs[0].level]
    for pair in pairs:
        assert pair.source.shape == (level.image_size, level.image_size, 3)
        assert 1 <= len(pair.scene.filled) <= level.max_toys
        for scene in (pair.scene, pair.target_scene):
            assert len(scene.kinds) == len(scene.filled)
            for _, t in scene.filled:
                assert t.pose == "upright" or t.kind in POSABLE
                assert t.face == "none" or t.size == "large"
                assert t.colour in level.colours and t.kind in level.kinds


def test_one_instruction_has_one_target():
    seen = {}
    for pair in rows(0, 1500):
        key = (pair.scene, pair.instruction)
        assert seen.setdefault(key, pair.target_scene) == pair.target_scene
    assert len(seen) > 1000


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("task", toybox.TASKS)
def test_words_are_in_the_vocabulary(level, task):
    for pair in rows(level, 100, task=task):
        assert set(pair.instruction.split()) <= set(toybox.VOCABULARY)


def test_vocabulary_is_small_and_sorted():
    assert len(toybox.VOCABULARY) == 81
    assert sorted(set(toybox.VOCABULARY)) == toybox.VOCABULARY


@pytest.mark.parametrize("level", LEVELS)
def test_held_out_pairs_occur_in_one_split_only(level):
    for split in ("train", "test"):
        for pair in rows(level, 200, split=split):
            shown = kinds_and_colours(pair.scene) | kinds_and_colours(pair.target_scene)
            assert not shown & HELD_OUT
    for pair in rows(level, 50, split="test_compositional"):
        assert kinds_and_colours(pair.target_scene) & HELD_OUT


def test_recon_and_translation_rows():
    pair = toybox.make(0, 0, 0, task="recon")
    assert (pair.task, pair.edit_type) == ("recon", -1)
    assert pair.instruction == "reconstruct the image without changes"
    assert not pair.mask.any()
    np.testing.assert_array_equal(pair.source, pair.target)
    words = {"depth": "depth", "canny": "edge", "segmentation": "segmentation"}
    maps = {task: toybox.make(1, 3, 1, task=task) for task in words}
    for task, pair in maps.items():
        assert pair.task == task
        start = f"given the {words[task]} image generate an image following the description a "
        assert pair.instruction.startswith(start)
        assert pair.mask.all() and pair.source.dtype == np.uint8
    colours = np.unique(maps["segmentation"].source.reshape(-1, 3), axis=0)
    assert len(colours) == 2 + len(maps["segmentation"].scene.filled)
    np.testing.assert_array_equal(maps["canny"].source, edge_map(maps["canny"].target))


def test_tasks_of_some_types():
    assert {p.edit_type for p in rows(0, 40, task="add_remove")} == {2, 3}
    assert {p.edit_type for p in rows(0, 99, task="other")} == {0, 1, *range(4, 10)}
    assert {p.edit_type for p in rows(0, 9, task="style")} == {9}
    assert toybox.make(0, 0, 0, task="other", edit_type=6).edit_type == 6


@pytest.mark.parametrize("shape", ["wide", "tall"])
def test_the_square_scene_is_in_the_middle_of_other_shapes(shape):
    for square, pair in zip(rows(3, 20), rows(3, 20, shape=shape), strict=True):
        assert pair.target.shape[:2] == {"wide": (64, 86), "tall": (86, 64)}[shape]
        for name in ("source", "target", "mask"):
            np.testing.assert_array_equal(middle(getattr(pair, name), 64), getattr(square, name))
        assert pair.drift or not ((pair.source != pair.target).any(-1) & ~pair.mask).any()
        assert toybox.check(pair.target, pair).success


def test_pairs_cannot_be_changed_by_name():
    with pytest.raises(dataclasses.FrozenInstanceError):
        toybox.make(0, 0, 0).level = 1


@pytest.mark.parametrize(
    ("level", "kwargs", "message"),
    [
        (4, {}, "level=4: expected 0 ... 3"),
        (0, {"split": "val"}, "split='val': expected one of train"),
        (0, {"task": "edge"}, "task='edge': expected one of edit"),
        (0, {"edit_type": 10}, "edit_type=10: expected 0 ... 9"),
        (0, {"shape": "round"}, "shape='round': expected here one of square, wide, tall"),
        (3, {"shape": "wide", "task": "depth"}, "shape='wide': expected here one of square"),
        (0, {"task": "other", "edit_type": 2}, r"here one of \(0, 1, 4, 5, 6, 7, 8, 9\)"),
    ],
)
def test_unknown_arguments(level, kwargs, message):
    with pytest.raises(ValueError, match=message.replace("...", r"\.\.\.")):
        toybox.make(0, 0, level, **kwargs)
