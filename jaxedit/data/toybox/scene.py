"""The toybox's world: the parts of a scene, the levels, and the random drawing of scenes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")

CELL = 32  # pixels, side of one slot of the grid

KINDS = ("ball", "box", "tent", "star", "heart", "tree", "house", "fish")
POSABLE = frozenset({"tent", "heart", "tree", "house", "fish"})
COLOURS = ("red", "yellow", "blue", "white", "green", "orange", "purple", "pink")
TEXTURES = ("plain", "striped", "checkered", "dotted")
FACES = ("none", "smiling", "sad")
POSES = ("upright", "upside down", "lying down")
SIZES = {"small": 16, "large": 26}  # pixels; only large toys have a face
BACKGROUNDS = ("meadow", "night", "beach", "room", "snow", "desert")
STYLES = ("photo", "negative", "sepia", "black and white", "sketch")
# shape of a picture -> rows and columns of further background on both sides of the square scene;
# the wide picture of a scene of 64 pixels has 86 x 64 pixels, about 4:3
SHAPES = {"square": (0, 0), "wide": (0, 11), "tall": (11, 0)}

# (kind, colour) pairs that no training or ordinary test scene contains, before or after its edit.
HELD_OUT = frozenset(
    {("heart", "blue"), ("star", "white"), ("fish", "green"), ("tent", "pink"), ("box", "orange")}
)


class Toy(NamedTuple):
    """An object; it is referred to by its kind, because kinds are unique in a scene."""

    kind: str
    colour: str
    texture: str
    face: str
    pose: str
    size: str


class Scene(NamedTuple):
    """A background, a style, and a toy or None per slot, row by row from the top left."""

    background: str
    toys: tuple[Toy | None, ...]
    style: str = "photo"
    texture_seed: int | None = None  # of the background's textures; None: even colours

    @property
    def grid(self) -> int:
        """Return the number of slots per side."""
        return int(len(self.toys) ** 0.5)

    @property
    def filled(self) -> list[tuple[int, Toy]]:
        """Return (slot, toy) of every toy."""
        return [(slot, toy) for slot, toy in enumerate(self.toys) if toy]

    @property
    def kinds(self) -> set[str]:
        """Return the kinds in the scene."""
        return {toy.kind for toy in self.toys if toy}

    def put(self, slot: int, toy: Toy | None) -> "Scene":
        """Return the scene with `toy`, or with nothing, in `slot`."""
        return self._replace(toys=(*self.toys[:slot], toy, *self.toys[slot + 1 :]))


class Level(NamedTuple):
    """The sizes, toys and edits that a level of difficulty allows."""

    grid: int
    max_toys: int
    kinds: tuple[str, ...] = KINDS
    colours: tuple[str, ...] = COLOURS
    textures: tuple[str, ...] = TEXTURES
    faces: tuple[str, ...] = FACES
    poses: tuple[str, ...] = POSES
    sizes: tuple[str, ...] = tuple(SIZES)
    backgrounds: tuple[str, ...] = BACKGROUNDS
    styles: tuple[str, ...] = STYLES
    is_textured: bool = False  # backgrounds have textures, and training pairs are imperfect

    @property
    def image_size(self) -> int:
        """Return the side of the picture in pixels."""
        return self.grid * CELL


_SIMPLE = Level(
    grid=2,
    max_toys=2,
    kinds=("ball", "star", "heart", "house"),
    colours=COLOURS[:4],
    textures=TEXTURES[:2],
    faces=FACES[:2],
    poses=POSES[:2],
    sizes=("large",),
    backgrounds=BACKGROUNDS[:2],
    styles=STYLES[:4],
)
LEVELS = (
    _SIMPLE,
    Level(grid=2, max_toys=3),
    Level(grid=4, max_toys=6),
    _SIMPLE._replace(backgrounds=("meadow", "night", "room"), is_textured=True),
)


class Rules(NamedTuple):
    """A level, and the (kind, colour) pairs that must not occur."""

    level: Level
    forbidden: frozenset[tuple[str, str]]

    def colours(self, kind: str) -> list[str]:
        """Return the colours that a toy of `kind` may have."""
        return [c for c in self.level.colours if (kind, c) not in self.forbidden]

    def poses(self, kind: str) -> tuple[str, ...]:
        """Return the poses that a toy of `kind` may have."""
        return self.level.poses if kind in POSABLE else POSES[:1]

    def faces(self, size: str) -> tuple[str, ...]:
        """Return the faces that a toy of `size` may have."""
        return self.level.faces if size == "large" else FACES[:1]


class Dice:
    """A random number generator (Philox) with uniform choices."""

    def __init__(self, key: tuple[int, int], counter: tuple[int, int]):
        """Start the stream `counter` of the family `key`; both are pairs of 64-bit numbers."""
        words = np.array([0, 0, *counter], np.uint64)
        bits = np.random.Philox(key=np.array(key, np.uint64), counter=words)
        # Draws a number in [0,1).
        self.uniform: Callable[[], float] = np.random.Generator(bits).random

    def below(self, n: int) -> int:
        """Draw an integer in 0 ... n-1."""
        return int(self.uniform() * n)

    def pick(self, items: Sequence[T]) -> T:
        """Draw an item."""
        return items[int(self.uniform() * len(items))]

    def sample(self, items: Sequence[T], n: int) -> list[T]:
        """Draw `n` different items, in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(n)]


def draw_toy(dice: Dice, rules: Rules, kind: str) -> Toy:
    """Draw a random toy of `kind` that the rules allow."""
    size = dice.pick(rules.level.sizes)
    return Toy(
        kind=kind,
        colour=dice.pick(rules.colours(kind)),
        texture=dice.pick(rules.level.textures),
        face=dice.pick(rules.faces(size)),
        pose=dice.pick(rules.poses(kind)),
        size=size,
    )


def draw_scene(dice: Dice, rules: Rules) -> Scene:
    """Draw a random scene with one to `max_toys` toys."""
    level = rules.level
    n = 1 + dice.below(level.max_toys)
    toys: list[Toy | None] = [None] * level.grid**2
    slots = dice.sample(range(len(toys)), n)
    for slot, kind in zip(slots, dice.sample(level.kinds, n), strict=True):
        toys[slot] = draw_toy(dice, rules, kind)
    scene = Scene(background=dice.pick(level.backgrounds), toys=tuple(toys))
    return scene._replace(texture_seed=dice.below(2**32)) if level.is_textured else scene
