"""The scores by name, with the factors and decimals of the papers' tables.

Networks are named as in `networks.NETWORKS`. Those of `predictions.PREDICTED` run elsewhere, and
`Predictions` take their place.
"""

import dataclasses
from functools import partial

from jaxedit.evaluate.scores import fid, miou
from jaxedit.evaluate.scores.clip_similarity import clip_score, direction, similarity
from jaxedit.evaluate.scores.comparisons import with_source, with_target
from jaxedit.evaluate.scores.depth_rmse import depth_rmse
from jaxedit.evaluate.scores.dino_similarity import dino_similarity
from jaxedit.evaluate.scores.edges import f1, finite_psnr, with_edges
from jaxedit.evaluate.scores.lpips import lpips
from jaxedit.evaluate.scores.pixel_error import l1, mse, psnr
from jaxedit.evaluate.scores.score import Part, Score, SetScore
from jaxedit.evaluate.scores.ssim import ms_ssim, ssim
from jaxedit.evaluate.scores.structure_distance import structure_distance

_SOURCE_PROMPT, _TARGET_PROMPT = "sample.source_prompt", "sample.target_prompt"
_PROMPTS = ("source_prompt", "target_prompt")
_LOWER = {"is_higher_better": False}
_SSIM = {"factor": 100}
_LPIPS = {"network": "lpips-squeeze", "factor": 1e3} | _LOWER
_STRUCTURE = {"network": "dino-vitb8", "factor": 1e3} | _LOWER
_CLIP_L = {"network": "clip-vit-large-patch14"}
_CLIP_B = {"network": "clip-vit-base-patch32"}
_EMU = _CLIP_B | {"decimals": 3}
_MAGICBRUSH = {"needs": ("target",), "decimals": 4}
_EDGES = {"needs": ("target",)}


def _source_scores(part: Part) -> list[Score]:
    """Return the scores of how a part of the source is kept.

    "crop" and "no_antialias" are the variants of older releases of torchmetrics and torchvision.
    """
    scores = [
        Score("psnr", partial(with_source, psnr, part)),
        Score("mse", partial(with_source, mse, part), factor=1e4, **_LOWER),
        Score("ssim", partial(with_source, ssim, part), **_SSIM),
        Score("ssim_crop", partial(with_source, partial(ssim, is_cropped=True), part), **_SSIM),
        Score("ms_ssim", partial(with_source, ms_ssim, part), **_SSIM),
        Score("lpips", partial(lpips, part), **_LPIPS),
        Score("structure_distance", partial(structure_distance, part), **_STRUCTURE),
        Score(
            "structure_distance_no_antialias",
            partial(structure_distance, part, antialias=False),
            **_STRUCTURE,
        ),
    ]
    if part == "whole":
        return scores
    return [dataclasses.replace(s, name=f"{s.name}_{part}", needs=("mask",)) for s in scores]


_ALL = [
    # PIE-Bench
    *_source_scores("whole"),
    *_source_scores("background"),
    *_source_scores("edited"),
    Score("clip_source", partial(clip_score, "source", "whole"), ("source_prompt",), **_CLIP_L),
    Score("clip_whole", partial(clip_score, "edited", "whole"), ("target_prompt",), **_CLIP_L),
    Score(
        "clip_edited", partial(clip_score, "edited", "edited"), ("mask", "target_prompt"), **_CLIP_L
    ),
    # EMU-Edit
    Score("clip_out", partial(similarity, "edited", _TARGET_PROMPT), ("target_prompt",), **_EMU),
    Score("clip_im", partial(similarity, "edited", "source"), **_EMU),
    Score("clip_dir", direction, _PROMPTS, **_EMU),
    Score("clip_dir_unnormalized", partial(direction, is_unit=False), _PROMPTS, **_EMU),
    Score("l1_source", partial(with_source, l1, "whole"), decimals=3, **_LOWER),
    Score("dino_source", partial(dino_similarity, "source"), network="dino-vits16", decimals=3),
    # MagicBrush
    Score("l1", partial(with_target, l1), **_MAGICBRUSH, **_LOWER),
    Score("l2", partial(with_target, mse), **_MAGICBRUSH, **_LOWER),
    Score("clip_i", partial(similarity, "edited", "target"), **_MAGICBRUSH, **_CLIP_B),
    Score("dino", partial(dino_similarity, "target"), network="dino-vits16", **_MAGICBRUSH),
    Score(
        "clip_t",
        partial(similarity, "edited", _TARGET_PROMPT),
        ("target_prompt",),
        decimals=4,
        **_CLIP_B,
    ),
    # Pictures made from conditions, as ControlNet++ scores them
    SetScore("fid", fid.features, fid.fid, ("target",), network="inception"),
    Score(
        "clip_score",
        partial(clip_score, "edited", "whole"),
        ("target_prompt",),
        network="clip-vit-base-patch16",
    ),
    Score("depth_rmse", depth_rmse, ("labels",), network="depth", **_LOWER),
    Score("edge_ms_ssim", partial(with_edges, ms_ssim), factor=100, **_EDGES),
    Score(
        "edge_ms_ssim_crop",
        partial(with_edges, partial(ms_ssim, is_cropped=True)),
        factor=100,
        **_EDGES,
    ),
    Score("edge_f1", partial(with_edges, f1), factor=100, **_EDGES),
    Score("edge_psnr", partial(with_edges, finite_psnr), **_EDGES),
    SetScore(
        "miou",
        miou.features,
        miou.miou,
        ("labels",),
        network="segmentation",
        factor=100,
        is_higher_better=True,
    ),
]
SCORES: dict[str, Score | SetScore] = {score.name: score for score in _ALL}
