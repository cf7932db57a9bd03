"""The releases by their official names: the locations of their weights, and their settings.

A release is a file of weights without settings. Its schedule, rotary positions and sampling are
flags of the release's own scripts. They are recorded here, and stored with the weights after
conversion.
"""

import copy
import difflib
from typing import NamedTuple

from jaxedit.config.checks import require
from jaxedit.config.clip import CLIPConfig
from jaxedit.config.models import SQUARE_SCALES, BSQConfig, PretrainedConfig, T5Config
from jaxedit.config.presets import EDITAR_PRESETS, PRESETS, llamagen
from jaxedit.config.sampling import ERecConfig, SampleConfig, TokenSampleConfig
from jaxedit.config.tokens import ViTConfig, VQConfig


class WeightSource(NamedTuple):
    """The location of a file, or folder of files, of a release."""

    kind: str  # network in the file: varedit, editar, bsq, vq, t5, vit or clip
    repo: str  # repository of the Hugging Face Hub; empty if the file is not known to be there
    file: str  # file or folder in the repository; empty: the whole repository
    licence: str
    home: str = ""  # where to get the file if there is no `repo`

    @property
    def place(self) -> str:
        """Describe where to get the file."""
        return (
            f"{self.file} from {self.home}" if self.home else f"{self.repo}/{self.file}".strip("/")
        )


class Release(NamedTuple):
    """A release: every setting that inference needs, its files, and a remark about it."""

    config: PretrainedConfig
    sources: tuple[WeightSource, ...]
    about: str = ""


def official(name: str) -> Release:
    """Return a copy of the release called `name`, whose settings may be changed.

    Raises:
      ConfigError: there is no such release; the message lists the nearest names, or all.
    """
    near = difflib.get_close_matches(name, OFFICIAL, 3) or OFFICIAL
    require(name in OFFICIAL, f"unknown official name {name!r}: expected {', '.join(near)}")
    return copy.deepcopy(OFFICIAL[name])


_INFINITY, _LLAMAGEN = "FoundationVision/Infinity", "FoundationVision/LlamaGen"
_LLAMAGEN_T2I = "peizesun/llamagen_t2i"
_T5 = WeightSource("t5", "google/flan-t5-xl", "", "apache-2.0")
_D32 = WeightSource("bsq", _INFINITY, "infinity_vae_d32reg.pth", "mit")
_D56 = WeightSource("bsq", _INFINITY, "infinity_vae_d56_f8_14_patchify.pth", "mit")
_VQ16_T2I = WeightSource("vq", _LLAMAGEN_T2I, "vq_ds16_t2i.pt", "mit")
_VQ16_C2I = WeightSource("vq", _LLAMAGEN, "vq_ds16_c2i.pt", "mit")
_VQ8_C2I = WeightSource("vq", _LLAMAGEN, "vq_ds8_c2i.pt", "mit")
_EDITAR = WeightSource(
    "editar", "", "editar_release.pt", "see its home", "https://github.com/JitengMu/EditAR"
)
_DINO = WeightSource(
    "vit",
    "",
    "dino_vitbase8_pretrain.pth",
    "apache-2.0",
    "https://dl.fbaipublicfiles.com/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth",
)
_DRAWS_CLASSES = "draws pictures of ImageNet's classes: python -m jaxedit.generate"
_DRAWS = "draws pictures from texts: python -m jaxedit.generate"


def _next_scale(size: str, pixels: int, file: str, *, repo: str, edits: bool) -> Release:
    """Return VAREdit's or Infinity's transformer of 2B or 8B, with tokenizer and text encoder."""
    config = copy.deepcopy(PRESETS[size])
    config.varedit.scales = SQUARE_SCALES[: {512: 10, 1024: 13}[pixels]]
    if not edits:
        config.varedit.conditioning, config.varedit.rope_mode = "none", "grid"
        config.sample = SampleConfig(guidance=3.0, temperature=1.0, top_p=0.97)
    tokenizer = {"2b": _D32, "8b": _D56}[size]
    sources = (WeightSource("varedit", repo, file, "mit"), tokenizer, _T5)
    return Release(config, sources, "" if edits else _DRAWS)


def _next_token(size: str, pixels: int, *, prefix: str, file: str) -> Release:
    """Return LlamaGen's transformer, with its tokenizer and, for texts, its text encoder."""
    is_text = prefix == "text"
    config = PretrainedConfig(
        model_type="editar",
        editar=llamagen(size, prefix=prefix, grid=pixels // VQConfig().stride),
        vq=VQConfig(),
        t5=T5Config(),
        token_sample=TokenSampleConfig(
            guidance=7.5 if is_text else 4.0, top_k=1000 if is_text else 2000
        ),
        erec=ERecConfig(),
    )
    repo, tokenizer = (_LLAMAGEN_T2I, _VQ16_T2I) if is_text else (_LLAMAGEN, _VQ16_C2I)
    sources = (WeightSource("editar", repo, file, "mit"), tokenizer, *((_T5,) if is_text else ()))
    return Release(config, sources, _DRAWS if is_text else _DRAWS_CLASSES)


_CLASS_SIZES = (
    ("b", 256),
    ("b", 384),
    ("l", 256),
    ("l", 384),
    ("xl", 384),
    ("xxl", 384),
    ("3b", 384),
)

OFFICIAL: dict[str, Release] = {
    "varedit-2b-512": _next_scale("2b", 512, "2B-512.pth", repo="HiDream-ai/VAREdit", edits=True),
    "varedit-8b-512": _next_scale("8b", 512, "8B-512.pth", repo="HiDream-ai/VAREdit", edits=True),
    "varedit-8b-1024": _next_scale(
        "8b", 1024, "8B-1024.pth", repo="HiDream-ai/VAREdit", edits=True
    ),
    "infinity-2b": _next_scale("2b", 1024, "infinity_2b_reg.pth", repo=_INFINITY, edits=False),
    "infinity-8b-512": _next_scale(
        "8b", 512, "infinity_8b_512x512_weights", repo=_INFINITY, edits=False
    ),
    "infinity-8b-1024": _next_scale("8b", 1024, "infinity_8b_weights", repo=_INFINITY, edits=False),
    "editar-512": Release(EDITAR_PRESETS["xl"], (_EDITAR, _VQ16_T2I, _T5)),
    "llamagen-t2i-xl-256": _next_token("xl", 256, prefix="text", file="t2i_XL_stage1_256.pt"),
    "llamagen-t2i-xl-512": _next_token("xl", 512, prefix="text", file="t2i_XL_stage2_512.pt"),
    **{
        f"llamagen-c2i-{size}-{pixels}": _next_token(
            size, pixels, prefix="class", file=f"c2i_{size.upper()}_{pixels}.pt"
        )
        for size, pixels in _CLASS_SIZES
    },
    "infinity-vae-d32": Release(
        PretrainedConfig(model_type="bsq", bsq=BSQConfig()), (_D32,), "the tokenizer of the 2B"
    ),
    "infinity-vae-d56": Release(
        PretrainedConfig(model_type="bsq", bsq=PRESETS["8b"].bsq),
        (_D56,),
        "the tokenizer of the 8B: 14 bits at stride 8, 2x2 of them a token",
    ),
    "llamagen-vq16-t2i": Release(PretrainedConfig(model_type="vq", vq=VQConfig()), (_VQ16_T2I,)),
    "llamagen-vq16-c2i": Release(PretrainedConfig(model_type="vq", vq=VQConfig()), (_VQ16_C2I,)),
    "llamagen-vq8-c2i": Release(
        PretrainedConfig(model_type="vq", vq=VQConfig(channel_mult=(1, 2, 2, 4))), (_VQ8_C2I,)
    ),
    "flan-t5-xl": Release(PretrainedConfig(model_type="t5", t5=T5Config()), (_T5,)),
    "dinov2-base": Release(
        PretrainedConfig(model_type="vit", vit=ViTConfig()),
        (WeightSource("vit", "facebook/dinov2-base", "", "apache-2.0"),),
        "EditAR's teacher",
    ),
    "dino-vitb8": Release(
        PretrainedConfig(
            model_type="vit",
            vit=ViTConfig(patch=8, grid=28, layer_scale=False, position_offset=0.1),
        ),
        (_DINO,),
    ),
    "clip-vit-large-patch14": Release(
        PretrainedConfig(model_type="clip", clip=CLIPConfig()),
        (WeightSource("clip", "openai/clip-vit-large-patch14", "", "mit"),),
    ),
}
