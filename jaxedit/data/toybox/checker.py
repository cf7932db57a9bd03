"""The exact check whether an edit succeeded, attribute by attribute, without a trained judge."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Shaped
from scipy.ndimage import uniform_filter

from jaxedit.data.toybox.language import place
from jaxedit.data.toybox.recognise import recognise
from jaxedit.data.toybox.render import LUMA, middle
from jaxedit.data.toybox.scene import LEVELS, Scene
from jaxedit.data.toybox.toy_pairs import ToyPair

_WINDOW = 7  # pixels, side of SSIM's window
_MAX_PSNR = 100.0  # dB, reported for equal pictures


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The content of an edited picture, compared with the only right answer."""

    success: bool  # is_edited and is_kept
    is_edited: bool  # everything that the instruction changes is as requested
    is_kept: bool  # everything else is as in the source
    errors: tuple[str, ...]  # a line for each wrong fact: "top left colour: red instead of blue"
    scene: Scene  # the recognised scene
    # PSNR against the target outside the edit mask, in dB, at most 100; None if the mask covers
    # everything
    psnr_outside: float | None
    # structural similarity of the brightness outside the edit mask, in [-1,1], or None
    ssim_outside: float | None


def check(image: Shaped[np.ndarray, "..."], pair: ToyPair) -> CheckResult:
    """Compare an edited picture with what its instruction requested.

    Args:
      image: u8[H,W,3], the edited picture.

    Raises:
      ValueError: the picture has another shape or type than the pair's pictures.

    >>> from jaxedit.data import toybox
    >>> pair = toybox.make(seed=0, index=1, level=0)
    >>> check(pair.target, pair).success
    True
    >>> check(pair.source, pair).errors
    ('top left colour: yellow instead of red',)
    """
    if image.shape != pair.target.shape or image.dtype != np.uint8:
        raise ValueError(
            f"picture {image.dtype}{list(image.shape)}: expected uint8{list(pair.target.shape)}"
        )
    square = middle(image, LEVELS[pair.level].image_size)
    scene = recognise(square, pair.level)
    before, wanted, found = (_facts(s) for s in (pair.scene, pair.target_scene, scene))
    requested, wrong = _differences(before, wanted), _differences(found, wanted)
    psnr, ssim = _likeness(image, pair)
    return CheckResult(
        success=not wrong,
        is_edited=not wrong & requested,
        is_kept=not wrong - requested,
        errors=tuple(
            f"{name}: {found.get(name, 'nothing')} instead of {wanted.get(name, 'nothing')}"
            for name in sorted(wrong)
        ),
        scene=scene,
        psnr_outside=psnr,
        ssim_outside=ssim,
    )


def _facts(scene: Scene) -> dict[str, str]:
    facts = {"background": scene.background, "style": scene.style}
    for slot, toy in scene.filled:
        if scene.style == "sketch" and toy.colour != "unknown":
            toy = toy._replace(colour="sketch")
        where = place(slot, scene.grid)
        facts |= {f"{where} {name}": value for name, value in toy._asdict().items()}
    return facts


def _differences(a: dict[str, str], b: dict[str, str]) -> set[str]:
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


def _likeness(image: np.ndarray, pair: ToyPair) -> tuple[float | None, float | None]:
    """Return (PSNR, SSIM) outside the mask; inside, the picture is replaced by the target first.

    Otherwise pixels inside the mask would affect SSIM outside by its window.
    """
    outside = ~pair.mask
    if not outside.any():
        return None, None
    image = np.where(outside[..., None], image, pair.target).astype(np.float32)
    target = pair.target.astype(np.float32)
    mse = float(np.square(image - target)[outside].mean())
    psnr = 10 * np.log10(255**2 / mse) if mse else _MAX_PSNR
    return min(float(psnr), _MAX_PSNR), float(_ssim(image @ LUMA, target @ LUMA)[outside].mean())


def _ssim(a: Float32[np.ndarray, "H W"], b: Float32[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Return a map of the structural similarity of two brightness maps in [0,255].

    Source: Wang et al. 2004, equation 13, with a flat window.
    """
    mean_a, mean_b = uniform_filter(a, _WINDOW), uniform_filter(b, _WINDOW)
    var_a = uniform_filter(a * a, _WINDOW) - mean_a**2
    var_b = uniform_filter(b * b, _WINDOW) - mean_b**2
    cov = uniform_filter(a * b, _WINDOW) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
