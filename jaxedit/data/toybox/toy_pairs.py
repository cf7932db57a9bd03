"""Toybox pairs: a pure function from (seed, index, level, split) to pictures, text and mask."""

import dataclasses

import numpy as np
from jaxtyping import Bool, UInt8

from jaxedit.data.toybox.edits import Edit, draw_edit
from jaxedit.data.toybox.language import MAPS, RECON_PROMPT, caption, translation
from jaxedit.data.toybox.render import edit_mask, render, translate
from jaxedit.data.toybox.scene import HELD_OUT, LEVELS, Dice, Rules, Scene, draw_scene

SPLITS = ("train", "test", "test_compositional")
ADD_REMOVE = (2, 3)  # indices of the edit types
# task -> its edit types; tasks that are not listed have no edit types
EDITS = {
    "edit": tuple(range(10)),
    "add_remove": ADD_REMOVE,
    "other": tuple(i for i in range(10) if i not in ADD_REMOVE),
}
TASKS = ("edit", "recon", *MAPS, "add_remove", "other")
_UINT64_MAX = 2**64 - 1


@dataclasses.dataclass(frozen=True)
class ToyPair:
    """A row and the truth about its pictures."""

    source: UInt8[np.ndarray, "H W 3"]
    target: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]  # True where an edit may change pixels; translations: everywhere
    instruction: str  # words of `VOCABULARY`, separated by spaces
    edit_type: int  # PIE-Bench's 0 ... 9; -1 for other tasks
    task: str  # one of `TASKS`
    level: int  # 0, 1 or 2
    scene: Scene  # what the source shows
    target_scene: Scene  # what the target shows


def make(
    seed: int,
    index: int,
    level: int,
    *,
    split: str = "train",
    task: str = "edit",
    edit_type: int | None = None,
) -> ToyPair:
    """Return row `index` of the endless toybox data set.

    Args:
      level: 0 (4 kinds, 64 px), 1 (everything, 64 px) or 2 (everything, 128 px).
      split: "train", "test", or "test_compositional", whose targets all contain a (kind, colour)
        pair that the other two splits never show.
      task: "edit", or a subset of its types: "add_remove" or "other"; "recon" (nothing changes);
        "depth", "canny" or "segmentation" (a map becomes an image).
      edit_type: 0 ... 9 requests that edit type; None draws one of the task's types.

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
    dice = Dice((seed & _UINT64_MAX, _stream(split, task)), (index & _UINT64_MAX, level))
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
    """Return the number of the random stream; the numbers of the first tasks must never change."""
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
