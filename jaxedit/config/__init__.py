"""Every setting of jaxedit: a typed dataclass per part, the named sizes, and their JSON form.

A dataclass is mutable while a command line is parsed (`--config.optim.learning_rate=1e-4`) and
hashable, so that it can be a static argument of a jitted function. Call `validate()` once, after
parsing.
"""

from jaxedit.config.as_json import from_dict, to_dict
from jaxedit.config.checks import (
    FITS,
    ConfigError,
    require,
    require_fit,
    require_int8,
    require_seed,
)
from jaxedit.config.clip import CLIPConfig, TowerConfig
from jaxedit.config.families import (
    OPTIONS,
    family_of,
    methods_of,
    require_purpose,
    sizes_of,
)
from jaxedit.config.methods import as_options, method_of, settings_of
from jaxedit.config.models import (
    SQUARE_SCALES,
    BSQConfig,
    PretrainedConfig,
    Scales,
    T5Config,
    VAREditConfig,
)
from jaxedit.config.official import OFFICIAL, Release, WeightSource, official
from jaxedit.config.presets import (
    EDITAR_PRESETS,
    LLAMAGEN_SIZES,
    PRESETS,
    llamagen,
    pick_preset,
)
from jaxedit.config.sampling import ERecConfig, SampleConfig, TokenSampleConfig
from jaxedit.config.tokens import EditARConfig, ViTConfig, VQConfig
from jaxedit.config.training import (
    BSQTrainConfig,
    DataConfig,
    EditARTrainConfig,
    LoRAConfig,
    MeshConfig,
    OptimConfig,
    TrainConfig,
    VAREditTrainConfig,
    VQTrainConfig,
)

__all__ = [
    "BSQConfig",
    "BSQTrainConfig",
    "CLIPConfig",
    "ConfigError",
    "DataConfig",
    "EDITAR_PRESETS",
    "ERecConfig",
    "EditARConfig",
    "EditARTrainConfig",
    "FITS",
    "LLAMAGEN_SIZES",
    "LoRAConfig",
    "MeshConfig",
    "OFFICIAL",
    "OPTIONS",
    "Release",
    "OptimConfig",
    "PRESETS",
    "PretrainedConfig",
    "SQUARE_SCALES",
    "SampleConfig",
    "Scales",
    "WeightSource",
    "T5Config",
    "TokenSampleConfig",
    "TowerConfig",
    "TrainConfig",
    "VAREditConfig",
    "VAREditTrainConfig",
    "VQConfig",
    "VQTrainConfig",
    "ViTConfig",
    "as_options",
    "family_of",
    "from_dict",
    "llamagen",
    "method_of",
    "methods_of",
    "official",
    "pick_preset",
    "require",
    "require_fit",
    "require_int8",
    "require_seed",
    "require_purpose",
    "settings_of",
    "sizes_of",
    "to_dict",
]
