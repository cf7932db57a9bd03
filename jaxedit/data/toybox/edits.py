"""The ten edit types of PIE-Bench on toybox scenes: an instruction and the scene that it requests.

Source: PIE-Bench (Ju et al. 2024, "Direct Inversion"), editing types 0 ... 9.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxedit.data.toybox.language import describe, place, scenery
from jaxedit.data.toybox.scene import POSABLE, SIZES, Dice, Rules, Scene, Toy, draw_toy

EDIT_TYPES = (
    "random",
    "change object",
    "add object",
    "delete object",
    "change content",
    "change pose",
    "change color",
    "change material",
    "change background",
    "change style",
)


class Edit(NamedTuple):
    """An instruction and the scene after the edit."""

    instruction: str
    target: Scene


# Each function returns None if the scene has nothing to edit in that way.
Editing = Callable[[Dice, Rules, Scene], Edit | None]


def draw_edit(dice: Dice, rules: Rules, scene: Scene, edit_type: int) -> Edit | None:
    """Draw a random edit of a type, or return None if the scene does not allow that type."""
    return _EDITS[edit_type](dice, rules, scene)


def _pick_toy(
    dice: Dice, scene: Scene, accepts: Callable[[Toy], bool] = bool
) -> tuple[int, Toy] | None:
    found = [(slot, toy) for slot, toy in scene.filled if accepts(toy)]
    return dice.pick(found) if found else None


def _others(values: Sequence[str], value: str) -> list[str]:
    return [v for v in values if v != value]


def _replace(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    slot, toy = dice.pick(scene.filled)
    kinds = [
        kind
        for kind in rules.level.kinds
        if kind not in scene.kinds
        and (toy.pose == "upright" or kind in POSABLE)
        and (kind, toy.colour) not in rules.forbidden
    ]
    if not kinds:
        return None
    kind = dice.pick(kinds)
    return Edit(f"replace the {toy.kind} with a {kind}", scene.put(slot, toy._replace(kind=kind)))


def _add(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    free = [slot for slot, toy in enumerate(scene.toys) if toy is None]
    kinds = [kind for kind in rules.level.kinds if kind not in scene.kinds]
    if not free or not kinds:
        return None
    slot, toy = dice.pick(free), draw_toy(dice, rules, dice.pick(kinds))
    where = place(slot, scene.grid)
    return Edit(f"add {describe(toy, rules.level)} at the {where}", scene.put(slot, toy))


def _remove(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    slot, toy = dice.pick(scene.filled)
    return Edit(f"remove the {toy.kind}", scene.put(slot, None))


def _face(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    found = _pick_toy(dice, scene, lambda toy: toy.size == "large")
    if not found:
        return None
    slot, toy = found
    face = dice.pick(_others(rules.level.faces, toy.face))
    text = f"give the {toy.kind} a {face} face"
    text = f"remove the face from the {toy.kind}" if face == "none" else text
    return Edit(text, scene.put(slot, toy._replace(face=face)))


def _pose(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    found = _pick_toy(dice, scene, lambda toy: toy.kind in POSABLE)
    if not found:
        return None
    slot, toy = found
    pose = dice.pick(_others(rules.level.poses, toy.pose))
    text = f"lay the {toy.kind} down" if pose == "lying down" else f"turn the {toy.kind} {pose}"
    return Edit(text, scene.put(slot, toy._replace(pose=pose)))


def _colour(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    slot, toy = dice.pick(scene.filled)
    colour = dice.pick(_others(rules.colours(toy.kind), toy.colour))
    return Edit(f"make the {toy.kind} {colour}", scene.put(slot, toy._replace(colour=colour)))


def _texture(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    slot, toy = dice.pick(scene.filled)
    texture = dice.pick(_others(rules.level.textures, toy.texture))
    text = f"give the {toy.kind} a {texture} surface"
    return Edit(text, scene.put(slot, toy._replace(texture=texture)))


def _background(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    background = dice.pick(_others(rules.level.backgrounds, scene.background))
    text = f"change the background to {scenery(background)}"
    return Edit(text, scene._replace(background=background))


def _style(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    style = dice.pick(_others(rules.level.styles, scene.style))
    photo = " photo" if style in ("black and white", "sepia") else ""
    return Edit(f"turn the image into a {style}{photo}", scene._replace(style=style))


def _resize(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    # A toy with a face cannot shrink: small toys have no face.
    found = _pick_toy(dice, scene, lambda toy: toy.face == "none")
    if not found or len(rules.level.sizes) < 2:
        return None
    slot, toy = found
    (size,) = _others(tuple(SIZES), toy.size)
    word = "bigger" if size == "large" else "smaller"
    return Edit(f"make the {toy.kind} {word}", scene.put(slot, toy._replace(size=size)))


def _two(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    """Draw two independent edits: of two toys, or of a toy and the background."""
    slot, toy = dice.pick(scene.filled)
    others = tuple(None if s == slot else t for s, t in enumerate(scene.toys))
    alone = scene._replace(toys=tuple(t if s == slot else None for s, t in enumerate(scene.toys)))
    first = dice.pick(_LOCAL)(dice, rules, alone)
    is_second_local = any(others) and dice.below(2)
    second_scene = scene._replace(toys=others)
    second = (dice.pick(_LOCAL) if is_second_local else _background)(dice, rules, second_scene)
    if not first or not second:
        return None
    toys = second.target.toys[:slot] + first.target.toys[slot : slot + 1]
    target = second.target._replace(toys=toys + second.target.toys[slot + 1 :])
    return Edit(f"{first.instruction} and {second.instruction}", target)


def _random(dice: Dice, rules: Rules, scene: Scene) -> Edit | None:
    return dice.pick((_two, _two, _resize))(dice, rules, scene)


_LOCAL: tuple[Editing, ...] = (_remove, _face, _pose, _colour, _texture)
_EDITS: tuple[Editing, ...] = (
    _random,
    _replace,
    _add,
    _remove,
    _face,
    _pose,
    _colour,
    _texture,
    _background,
    _style,
)
