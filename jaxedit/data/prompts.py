"""The instructions of EditAR's translation tasks, made from a caption and the kind of map.

`code` is the wording of the public code, on which the released weights were trained. The paper
quotes another wording for depth; `paper` uses it for all three maps. `toy` is the wording of the
toybox. Edits need no such prompt: their instruction is used as written.
"""

from jaxedit.config import require
from jaxedit.data.toybox.language import MAPS, translation

_CODE = "Given the {map}, generate an image following the description: {caption}"
_PAPER = "Given the {map}, generate the image following the instruction: {caption}"
_NOUNS = {
    "depth": ("depth image", "depth"),
    "canny": ("canny edge image", "canny edge"),
    "segmentation": ("segmentation mask", "segmentation"),
}

PROMPTS: dict[str, dict[str, str]] = {
    "code": {task: _CODE.replace("{map}", noun) for task, (noun, _) in _NOUNS.items()},
    "paper": {task: _PAPER.replace("{map}", noun) for task, (_, noun) in _NOUNS.items()},
    "toy": {task: translation(task, "{caption}") for task in MAPS},
}
TASKS = tuple(_NOUNS)


def prompt(task: str, caption: str, style: str = "code") -> str:
    """Return the instruction to turn a map into the picture that a caption describes.

    Args:
      caption: what the picture shows; not changed.

    Raises:
      ConfigError: the task or the style is unknown.
    """
    require(style in PROMPTS, f"prompts={style!r}: expected one of {', '.join(PROMPTS)}")
    require(task in TASKS, f"task={task!r}: expected one of {', '.join(TASKS)}")
    return PROMPTS[style][task].replace("{caption}", caption)
