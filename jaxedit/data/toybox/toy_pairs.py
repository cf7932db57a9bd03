"""Toybox pairs: a pure function from (seed, index, level, split) to pictures, text and mask."""

import dataclasses

import numpy as np
from jaxtyping import Bool, UInt8

from jaxedit.data.toybox.drift import Drift, draw_drift
from jaxedit.data.toybox.edits import Edit, draw_edit
from jaxedit.data.toybox.language import MAPS, RECON_PROMPT, caption, translation
from jaxedit.data.toybox.render import edit_mask, render, translate
from jaxedit.data.toybox.scene import (
    HELD_OUT,
    LEVELS,
    SHAPES,
    Dice,
    Rules,
    Scene,
    draw_scene,
)

SPLITS = ("train", "test", "test_compositional")
ADD_REMOVE = (2, 3)  # indices of the edit types
# task -> its edit types; tasks that are not listed have no edit types
EDITS = {
    "edit": tuple(range(10)),
    "add_remove": ADD_REMOVE,
    "other": tuple(i for i in range(10) if i not in ADD_REMOVE),
    "style": (9,),
}
TASKS = ("edit", "recon", *MAPS, "add_remove", "other", "style")
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
    level: int  # an index of `LEVELS`
    scene: Scene  # what the source shows
    target_scene: Scene  # what the target shows
    drift: Drift | None = None  # how the target's background differs; None: the pair is perfect


def make(
    seed: int,
    index: int,
    level: int,
    *,
    split: str = "train",
    task: str = "edit",
    edit_type: int | None = None,
    shape: str = "square",
    is_perfect: bool = False,
) -> ToyPair:
    """Return row `index` of the endless toybox data set.

    Args:
      level: 0 (4 kinds, 64 px), 1 (everything, 64 px), 2 (everything, 128 px) or 3: the toys,
        words, edits and styles of level 0 at 64 px, in front of textures. The targets of its
        training split are imperfect: the background of most is changed a little outside the
        mask; see `drift`. The other splits are perfect.
      split: "train", "test", or "test_compositional", whose targets all contain a (kind, colour)
        pair that the other two splits never show.
      task: "edit", or a subset of its types: "add_remove", "other", "style"; "recon" (no change);
        "depth", "canny" or "segmentation" (a map becomes an image).
      edit_type: 0 ... 9 requests that edit type; None draws one of the task's types.
      shape: a key of `SHAPES`: the square scene, or the same scene with more background on the
        left and on the right ("wide") or above and below ("tall"); not of maps.
      is_perfect: make the targets of the training split perfect, too.

    Raises:
      ValueError: level, split, task, edit_type or shape is unknown.

    >>> pair = make(seed=0, index=1, level=0)
    >>> pair.instruction, pair.source.shape
    ('make the star red', (64, 64, 3))
    """
    _check(level=level, split=split, task=task, edit_type=edit_type, shape=shape)
    dice = Dice((seed & _UINT64_MAX, _stream(split, task)), (index & _UINT64_MAX, level))
    scene, edit_type, edit = _draw(dice, level, split, task, edit_type)
    if task in MAPS:
        return _translation(scene, level, task)
    may_drift = LEVELS[level].is_textured and split == "train" and task in EDITS and not is_perfect
    is_local = (scene.background, scene.style) == (edit.target.background, edit.target.style)
    drift = draw_drift(dice) if may_drift and is_local else None
    return ToyPair(
        source=render(scene, margin=SHAPES[shape]),
        target=render(edit.target, margin=SHAPES[shape], drift=drift),
        mask=edit_mask(scene, edit.target, margin=SHAPES[shape]),
        instruction=edit.instruction,
        edit_type=edit_type,
        task=task,
        level=level,
        scene=scene,
        target_scene=edit.target,
        drift=drift,
    )


def _check(*, level: int, split: str, task: str, edit_type: int | None, shape: str) -> None:
    """Raise ValueError for arguments of `make` that are unknown."""
    _require(level in range(len(LEVELS)), "level", level, f"0 ... {len(LEVELS) - 1}")
    _require(split in SPLITS, "split", split, f"one of {', '.join(SPLITS)}")
    _require(task in TASKS, "task", task, f"one of {', '.join(TASKS)}")
    types = EDITS.get(task, ())
    expected = f"0 ... 9, here one of {types}, or None"
    _require(edit_type in (None, *types), "edit_type", edit_type, expected)
    shapes = tuple(SHAPES)[: 1 if task in MAPS else None]
    _require(shape in shapes, "shape", shape, f"here one of {', '.join(shapes)}")


def _draw(
    dice: Dice, level: int, split: str, task: str, edit_type: int | None
) -> tuple[Scene, int, Edit]:
    """Draw a scene, the type of its edit (-1 for other tasks), and the edit."""
    is_compositional = split == "test_compositional"
    rules = Rules(LEVELS[level], frozenset() if is_compositional else HELD_OUT)
    types = EDITS.get(task, ())
    if types and edit_type is None:
        edit_type = dice.pick(types)
    while True:
        scene = draw_scene(dice, rules)
        edit = Edit(RECON_PROMPT, scene)
        if types:
            edit = draw_edit(dice, rules, scene, edit_type)
        if edit and (not is_compositional or _has_held_out(edit.target)):
            return scene, edit_type if types else -1, edit


def _stream(split: str, task: str) -> int:
    """Return the number of the random stream; the numbers of the first tasks must never change."""
    block, column = divmod(TASKS.index(task), 3)
    return 9 * block + 3 * SPLITS.index(split) + column


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
