"""Imperfect pairs: small changes of a target's background that no instruction requests.

Real editors are trained on such pairs: models made the pairs of SEED-Data-Edit, PIPE and
InstructPix2Pix, and redrew, moved or recoloured a little of every picture.
"""

from typing import NamedTuple

from jaxedit.data.toybox.scene import Dice

# Shares of the training pairs of a level with textures; the other 0.3 are perfect.
REDRAWN = 0.3  # another texture, everywhere or in a disc
SHIFTED = 0.2  # the texture is moved by a pixel
RECOLOURED = 0.2  # every colour is moved by up to `MAX_RECOLOUR`
EVERYWHERE = 0.25  # share of the redrawn pairs without a disc
MAX_RECOLOUR = 10  # grey levels of each channel
_RADIUS = (0.2, 0.45)  # of a disc, of the picture's side
_NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


class Drift(NamedTuple):
    """A change of a background; each field's default changes nothing."""

    texture_seed: int | None = None  # of another texture
    disc: tuple[float, float, float] | None = None  # y, x, radius of its part; None: everywhere
    shift: tuple[int, int] = (0, 0)  # rows and columns by which the texture moves
    colour: tuple[int, int, int] = (0, 0, 0)  # grey levels added to sky and ground


def draw_drift(dice: Dice) -> Drift | None:
    """Draw the change of a training pair, or None for a perfect pair.

    A disc is in units of the side of the square scene.
    """
    kind = dice.uniform()
    if kind < REDRAWN:
        seed, is_everywhere = dice.below(2**32), dice.uniform() < EVERYWHERE
        low, high = _RADIUS
        disc = dice.uniform(), dice.uniform(), low + (high - low) * dice.uniform()
        return Drift(texture_seed=seed, disc=None if is_everywhere else disc)
    if kind < REDRAWN + SHIFTED:
        return Drift(shift=dice.pick(_NEIGHBOURS))
    if kind < REDRAWN + SHIFTED + RECOLOURED:
        red, green, blue = (dice.below(2 * MAX_RECOLOUR + 1) - MAX_RECOLOUR for _ in range(3))
        return Drift(colour=(red, green, blue))
    return None
