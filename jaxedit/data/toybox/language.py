"""The toybox's English: places, descriptions, captions, and the vocabulary."""

from jaxedit.data.toybox.scene import (
    BACKGROUNDS,
    COLOURS,
    FACES,
    KINDS,
    POSES,
    STYLES,
    TEXTURES,
    Level,
    Scene,
    Toy,
)

RECON_PROMPT = "reconstruct the image without changes"
TRANSLATE_PROMPT = "given the {map} image generate an image following the description {caption}"
MAPS = {"depth": "depth", "canny": "edge", "segmentation": "segmentation"}  # task -> its word

_ROWS = {2: ("top", "bottom"), 4: ("top", "upper", "lower", "bottom")}
_COLUMNS = {2: ("left", "right"), 4: ("far left", "left", "right", "far right")}
_SCENERY = {  # background -> (in a caption, as the goal of a change)
    "meadow": ("in a meadow", "a meadow"),
    "night": ("at night", "night"),
    "beach": ("on a beach", "a beach"),
    "room": ("in a room", "a room"),
    "snow": ("in the snow", "snow"),
    "desert": ("in a desert", "a desert"),
}


def place(slot: int, grid: int) -> str:
    """Return the name of a slot's place: "top left"; on the 4 x 4 grid "upper far right"."""
    return f"{_ROWS[grid][slot // grid]} {_COLUMNS[grid][slot % grid]}"


def scenery(background: str) -> str:
    """Return the background as a noun: "a beach"."""
    return _SCENERY[background][1]


def describe(toy: Toy, level: Level) -> str:
    """Return a noun phrase with every attribute: "a small red striped heart upside down"."""
    words = [
        toy.size if len(level.sizes) > 1 else "",
        toy.colour,
        toy.texture if toy.texture != "plain" else "",
        toy.face if toy.face != "none" else "",
        toy.kind,
        toy.pose if toy.pose != "upright" else "",
    ]
    return " ".join(["a", *filter(None, words)])


def caption(scene: Scene, level: Level) -> str:
    """Describe the whole scene without places: a map shows the places, and kinds are unique."""
    toys = " and ".join(describe(toy, level) for _, toy in scene.filled)
    return f"{toys} {_SCENERY[scene.background][0]}"


def translation(task: str, text: str) -> str:
    """Return the instruction to turn a task's map into the picture that `text` describes."""
    return TRANSLATE_PROMPT.format(map=MAPS[task], caption=text)


def longest_caption(level: Level) -> int:
    """Return the number of words of a level's longest translation instruction."""
    most = Toy("fish", "red", "striped", "sad", "upside down", "large")
    toys = (most,) * level.max_toys + (None,) * (level.grid**2 - level.max_toys)
    return len(translation("depth", caption(Scene("snow", toys), level)).split())


def _vocabulary() -> list[str]:
    phrases = [
        RECON_PROMPT,
        TRANSLATE_PROMPT.format(map="", caption=""),
        "add a at the",
        "remove the face from the",
        "replace the with a",
        "give the a surface face",
        "turn the image into a photo",
        "lay the down",
        "make the smaller bigger",
        "change the background to and",
        "small large",
        *MAPS.values(),
        *(word for grid in (2, 4) for word in _ROWS[grid] + _COLUMNS[grid]),
        *(phrase for pair in _SCENERY.values() for phrase in pair),
        *KINDS,
        *COLOURS,
        *TEXTURES,
        *FACES[1:],
        *POSES,
        *BACKGROUNDS,
        *STYLES,
    ]
    return sorted({word for phrase in phrases for word in phrase.split()})


VOCABULARY = _vocabulary()  # every word of every instruction and caption, sorted
