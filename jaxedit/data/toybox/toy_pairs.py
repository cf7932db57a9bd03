"""Toybox pairs: a pure function from (seed, index, level, split) to pictures, text and mask."""

import dataclasses

import numpy as np

from jaxedit.data.toybox.edits import Edit, draw_edit
from jaxedit.data.toybox.language import MAPS, RECON_PROMPT, caption, translation
from jaxedit.data.toybox.render import edit_mask, render
from jaxedit.data.toybox.scene import HELD_OUT, LEVELS, Dice, Rules, Scene, draw_scene
from jaxedit.data.toybox.translate import translate

SPLITS = ("train", "test", "test_compositional")
ADD_REMOVE = (2, 3)  # of the edit types
# task -> its types of edit; the other tasks have none
EDITS = {
    "edit": tuple(range(10)),
    "add_remove": ADD_REMOVE,
    "other": tuple(i for i in range(10) if i not in ADD_REMOVE),
}
TASKS = ("edit", "recon", *MAPS, "add_remove", "other")
_WORD = (1 << 64) - 1


@dataclasses.dataclass(frozen=True)
class ToyPair:
    """One row and the truth about it.

    Attributes:
      source, target: u8[H,W,3].
      mask: bool[H,W], True where an edit may change pixels (all True for translations).
      instruction: words of `VOCABULARY`, separated by blanks.
      edit_type: PIE-Bench's 0 ... 9; -1 for other tasks.
      task: one of `TASKS`.
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
      task: "edit" or, of its types, "add_remove" or the "other" ones; "recon" (nothing changes);
        "depth", "canny" or "segmentation" (a map becomes an image).
      edit_type: 0 ... 9 asks for that type of edit; None draws one of the task's.

    Raises:
      ValueError: level, split, task or edit_type is unknown.
    """
    _require(level in range(len(LEVELS)), "level", level, "0, 1 or 2")
    _require(split in SPLITS, "split", split, f"one of {', '.join(SPLITS)}")
    _require(task in TASKS, "task", task, f"one of {', '.join(TASKS)}")
    types = EDITS.get(task, ())
    _require(
        edit_type in (None, *types),
        "edit_type",
        edit_type,
        f"0 ... 9, here one of {types}, or None",
    )
    dice = Dice((seed & _WORD, _stream(split, task)), (index & _WORD, level))
    is_compositional = split == "test_compositional"
    rules = Rules(LEVELS[level], frozenset() if is_compositional else HELD_OUT)
    if types and edit_type is None:
        edit_type = dice.pick(types)
    while True:
        scene = draw_scene(dice, rules)
        edit = Edit("", scene)
        if types:
            edit = draw_edit(dice, rules, scene, edit_type)
        if edit and (not is_compositional or _has_held_out(edit.target)):
            break
    if task in MAPS:
        return _translation(scene, level, task)
    return _edited(scene, edit, level, edit_type=edit_type, task=task)


def _stream(split: str, task: str) -> int:
    """Number of a random stream; the streams of the first tasks are those of the first release."""
    block, column = divmod(TASKS.index(task), 3)
    return 9 * block + 3 * SPLITS.index(split) + column


def _edited(scene: Scene, edit: Edit, level: int, *, edit_type: int | None, task: str) -> ToyPair:
    is_recon = task == "recon"
    source = render(scene)
    return ToyPair(
        source=source,
        target=source.copy() if is_recon else render(edit.target),
        mask=edit_mask(scene, edit.target),
        instruction=RECON_PROMPT if is_recon else edit.instruction,
        edit_type=-1 if is_recon else edit_type,
        task=task,
        level=level,
        scene=scene,
        target_scene=edit.target,
    )


def _translation(scene: Scene, level: int, task: str) -> ToyPair:
    target = render(scene)
    return ToyPair(
        source=translate(scene, task),
        target=target,
        mask=np.ones(target.shape[:2], bool),
        instruction=translation(task, caption(scene, LEVELS[level])),
        edit_type=-1,
        task=task,
        level=level,
        scene=scene,
        target_scene=scene,
    )


def _has_held_out(scene: Scene) -> bool:
    return any((toy.kind, toy.colour) in HELD_OUT for _, toy in scene.filled)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"toybox {name}={value!r}: expected {expected}")
