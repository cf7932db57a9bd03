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
    require_feather,
    require_fit,
    require_int8,
    require_seed,
    require_words,
)
from jaxedit.config.clip import CLIPConfig, TowerConfig
from jaxedit.config.families import family_of, methods_of, require_purpose, sizes_of
from jaxedit.config.methods import as_options, method_of, settings_of
from jaxedit.config.metric_networks import InceptionConfig, LPIPSConfig
from jaxedit.config.models import (
    SQUARE_SCALES,
    BSQConfig,
    PretrainedConfig,
    Scales,
    T5Config,
    VAREditConfig,
)
from jaxedit.config.official import OFFICIAL, Release, WeightSource, official
from jaxedit.config.presets import EDITAR_PRESETS, LLAMAGEN_SIZES, PRESETS, llamagen, pick_preset
from jaxedit.config.sampling import (
    ERecConfig,
    SampleConfig,
    ScaleERecConfig,
    TokenSampleConfig,
)
from jaxedit.config.serving import ServeConfig
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
