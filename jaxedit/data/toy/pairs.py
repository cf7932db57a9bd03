"""Toybox pairs: a pure function from (seed, index, level, split) to pictures, text and mask."""

import dataclasses

import numpy as np

from jaxedit.data.toy.edits import EDIT_TYPES, Edit, draw_edit
from jaxedit.data.toy.language import MAPS, RECON_PROMPT, TRANSLATE_PROMPT, caption
from jaxedit.data.toy.render import edit_mask, render
from jaxedit.data.toy.scene import HELD_OUT, LEVELS, Dice, Rules, Scene, draw_scene
from jaxedit.data.toy.translate import translate

SPLITS = ("train", "test", "test_compositional")
TASKS = ("edit", "recon", "translate")
_WORD = (1 << 64) - 1


@dataclasses.dataclass(frozen=True)
class ToyPair:
    """One row and the truth about it.

    Attributes:
      source, target: u8[H,W,3].
      mask: bool[H,W], True where an edit may change pixels (all True for translations).
      instruction: words of `VOCABULARY`, separated by blanks.
      edit_type: PIE-Bench's 0 ... 9; -1 for other tasks.
      task: edit, recon, depth, edge or segmentation.
      level: 0, 1 or 2.
      scene, target_scene: what the pictures show.
    """

    source: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    instruction: str
    edit_type: int
    task: str
    level: int
    scene: Scene
    target_scene: Scene


def make(
    seed: int,
    index: int,
    level: int,
    *,
    split: str = "train",
    task: str = "edit",
    edit_type: int | None = None,
) -> ToyPair:
    """Row `index` of the endless toybox data set.

    Args:
      seed: any integer.
      index: 0, 1, ...
      level: 0 (4 kinds, 64 px), 1 (everything, 64 px) or 2 (everything, 128 px).
      split: "train", "test", or "test_compositional", whose targets all contain a (kind, colour)
        pair that the other two never show.
      task: "edit", "recon" (nothing changes) or "translate" (a map becomes an image).
      edit_type: 0 ... 9 asks for that type of edit; None draws it.

    Raises:
      ValueError: level, split, task or edit_type is unknown.
    """
    _require(level in range(len(LEVELS)), "level", level, "0, 1 or 2")
    _require(split in SPLITS, "split", split, f"one of {', '.join(SPLITS)}")
    _require(task in TASKS, "task", task, f"one of {', '.join(TASKS)}")
    _require(edit_type in (None, *range(10)), "edit_type", edit_type, "0 ... 9 or None")
    stream = SPLITS.index(split) * len(TASKS) + TASKS.index(task)
    dice = Dice((seed & _WORD, stream), (index & _WORD, level))
    is_compositional = split == "test_compositional"
    rules = Rules(LEVELS[level], frozenset() if is_compositional else HELD_OUT)
    if task == "edit" and edit_type is None:
        edit_type = dice.below(len(EDIT_TYPES))
    while True:
        scene = draw_scene(dice, rules)
        edit = Edit("", scene)
        if task == "edit":
            edit = draw_edit(dice, rules, scene, edit_type)
        if edit and (not is_compositional or _has_held_out(edit.target)):
            break
    if task == "translate":
        return _translation(scene, level, dice.pick(MAPS))
    return _edited(scene, edit, level, -1 if task == "recon" else edit_type)


def _edited(scene: Scene, edit: Edit, level: int, edit_type: int) -> ToyPair:
    is_recon = edit_type < 0
    source = render(scene)
    return ToyPair(
        source=source,
        target=source.copy() if is_recon else render(edit.target),
        mask=edit_mask(scene, edit.target),
        instruction=RECON_PROMPT if is_recon else edit.instruction,
        edit_type=edit_type,
        task="recon" if is_recon else "edit",
        level=level,
        scene=scene,
        target_scene=edit.target,
    )


def _translation(scene: Scene, level: int, name: str) -> ToyPair:
    target = render(scene)
    text = TRANSLATE_PROMPT.format(map=name, caption=caption(scene, LEVELS[level]))
    return ToyPair(
        source=translate(scene, name),
        target=target,
        mask=np.ones(target.shape[:2], bool),
        instruction=text,
        edit_type=-1,
        task=name,
        level=level,
        scene=scene,
        target_scene=scene,
    )


def _has_held_out(scene: Scene) -> bool:
    return any((toy.kind, toy.colour) in HELD_OUT for _, toy in scene.filled)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"toybox {name}={value!r}: expected {expected}")
