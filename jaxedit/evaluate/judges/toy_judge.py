"""The toybox's exact checker as a judge."""

import io
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxedit.data.toybox.checker import check
from jaxedit.data.toybox.recognise import all_toys, recognise
from jaxedit.data.toybox.render import cell_of, render
from jaxedit.data.toybox.scene import LEVELS, Scene
from jaxedit.data.toybox.sprites import sprite
from jaxedit.data.toybox.textures import MAX_OFFSET
from jaxedit.data.toybox.toy_pairs import ToyPair


class ToyJudge:
    """Recognises the toys in three pictures: the source, the target and the edited picture.

    Its scores are 10 or 0: for success if everything that the instruction changes is as requested,
    for preservation if everything else is as in the source.
    """

    settings = {"model": "toybox checker"}
    threads = 1

    def ask(self, prompt: str, images: Sequence[bytes], attempt: int = 0) -> str:
        """Return the reply of a judge who makes no mistakes; see `Judge.ask`.

        Raises:
          ValueError: the source or the target is not a picture of the toybox, enlarged at most.
        """
        source, target, edited = (Image.open(io.BytesIO(image)).convert("RGB") for image in images)
        for level in sorted(range(len(LEVELS)), key=_number_of_toys):  # the fastest first
            before, after = _shrink(source, level), _shrink(target, level)
            pair = ToyPair(
                source=before,
                target=after,
                mask=np.zeros(after.shape[:2], bool),
                instruction=prompt,
                edit_type=-1,
                task="edit",
                level=level,
                scene=recognise(before, level),
                target_scene=recognise(after, level),
            )
            scenes = (before, pair.scene), (after, pair.target_scene)
            if all(_is_drawn(picture, scene, level) for picture, scene in scenes):
                found = check(_shrink(edited, level), pair)
                score = [10 * int(found.is_edited), 10 * int(found.is_kept)]
                return json.dumps({"score": score, "reasoning": "; ".join(found.errors)})
        raise ValueError("toy judge: expected a source and a target of the toybox")


def _shrink(image: Image.Image, level: int) -> UInt8[np.ndarray, "H W 3"]:
    side = LEVELS[level].image_size
    return np.array(image.resize((side, side), Image.Resampling.BOX))


def _number_of_toys(level: int) -> int:
    return len(all_toys(level)) * LEVELS[level].grid ** 2


def _is_drawn(picture: np.ndarray, scene: Scene, level: int) -> bool:
    """Tell whether a picture shows exactly this scene, but for textures, whose seed is unknown."""
    if any(toy.colour == "unknown" for _, toy in scene.filled):
        return False
    difference = np.abs(picture.astype(np.int16) - render(scene))
    if not LEVELS[level].is_textured:
        return not difference.any()
    inside = np.zeros(picture.shape[:2], bool)
    for slot, toy in scene.filled:
        cell_of(inside, slot, scene.grid)[:] = sprite(toy)[1][..., 0] == 1
    return not difference[inside].any() and bool(0 < difference.max() <= MAX_OFFSET)
