"""The releases by their official names: the locations of their weights, and their settings.

A release is a file of weights without settings. Its schedule, rotary positions and sampling are
flags of the release's own scripts. They are recorded here, and stored with the weights after
conversion.
"""

import copy
import difflib
from typing import NamedTuple

from jaxedit.config.checks import require
from jaxedit.config.clip import CLIPConfig, TowerConfig
from jaxedit.config.metric_networks import InceptionConfig, LPIPSConfig
from jaxedit.config.models import SQUARE_SCALES, BSQConfig, PretrainedConfig, T5Config
from jaxedit.config.presets import EDITAR_PRESETS, PRESETS, llamagen
from jaxedit.config.sampling import ERecConfig, SampleConfig, TokenSampleConfig
from jaxedit.config.tokens import ViTConfig, VQConfig


class WeightSource(NamedTuple):
    """The location of a file, or folder of files, of a release."""

    kind: str  # network in the file: its `model_type`, see `families`
    repo: str  # repository of the Hugging Face Hub; empty if the file is not known to be there
    file: str  # file or folder in the repository; empty: the whole repository
    licence: str
    home: str = ""  # where to get the file if there is no `repo`

    @property
    def place(self) -> str:
        """Describe where to get the file."""
        if self.home:
            return self.home if self.home.endswith(self.file) else f"{self.file} from {self.home}"
        return f"{self.repo}/{self.file}".strip("/")


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


def _web(kind: str, url: str, licence: str) -> WeightSource:
    """Return a file that is not on the Hub."""
    return WeightSource(kind, "", url.rpartition("/")[2], licence, url)


def _dino(folder: str, about: str, *, patch: int, **sizes: int) -> Release:
    """Return a vision transformer of DINO, trained on pictures of 224 px."""
    vit = ViTConfig(patch=patch, grid=224 // patch, layer_scale=False, position_offset=0.1, **sizes)
    url = f"https://dl.fbaipublicfiles.com/dino/{folder}/{folder}.pth"
    return Release(
        PretrainedConfig(model_type="vit", vit=vit), (_web("vit", url, "apache-2.0"),), about
    )


def _clip(name: str, clip: CLIPConfig, about: str) -> Release:
    """Return a CLIP of OpenAI."""
    source = WeightSource("clip", f"openai/{name}", "", "mit")
    return Release(PretrainedConfig(model_type="clip", clip=clip), (source,), about)


def _clip_base(patch: int) -> CLIPConfig:
    return CLIPConfig(
        image=TowerConfig(layers=12, width=768, heads=12, mlp_hidden=3072),
        text=TowerConfig(layers=12, width=512, heads=8, mlp_hidden=2048),
        patch=patch,
        grid=224 // patch,
        projection_width=512,
    )


def _lpips(backbone: str, file: str, about: str) -> Release:
    """Return LPIPS: torchvision's backbone, and the weights of the distances."""
    return Release(
        PretrainedConfig(model_type="lpips", lpips=LPIPSConfig(backbone=backbone)),
        (
            _web("lpips", f"https://download.pytorch.org/models/{file}", "bsd-3-clause"),
            _web(
                "lpips",
                "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
                f"{backbone}.pth",
                "bsd-2-clause",
            ),
        ),
        about,
    )


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
    "dino-vitb8": _dino(
        "dino_vitbase8_pretrain", "structure distance of PIE-Bench; 343 MB", patch=8
    ),
    "dino-vits16": _dino(
        "dino_deitsmall16_pretrain",
        "DINO score of EMU-Edit and MagicBrush; 87 MB",
        patch=16,
        width=384,
        heads=6,
        mlp_hidden=1536,
    ),
    "clip-vit-large-patch14": _clip(
        "clip-vit-large-patch14", CLIPConfig(), "CLIP scores of PIE-Bench; 1.7 GB"
    ),
    "clip-vit-base-patch32": _clip(
        "clip-vit-base-patch32", _clip_base(32), "CLIP scores of EMU-Edit and MagicBrush; 605 MB"
    ),
    "clip-vit-base-patch16": _clip(
        "clip-vit-base-patch16", _clip_base(16), "CLIP score of translations; 599 MB"
    ),
    "lpips-squeeze": _lpips("squeeze", "squeezenet1_1-b8a52dc0.pth", "LPIPS of PIE-Bench; 5 MB"),
    "lpips-vgg": _lpips("vgg", "vgg16-397923af.pth", "LPIPS of tokenizers' losses; 553 MB"),
    "inception": Release(
        PretrainedConfig(model_type="inception", inception=InceptionConfig()),
        (
            _web(
                "inception",
                "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                "pt_inception-2015-12-05-6726825d.pth",
                "apache-2.0",
            ),
        ),
        "FID; 96 MB",
    ),
}
