"""Key map and config of FID's Inception v3, in the names of its PyTorch port."""

from jaxedit.config import InceptionConfig
from jaxedit.convert.keymaps.key_rules import CONV, KeyMap, Rule, under
from jaxedit.convert.sizes import Settings, Shapes
from jaxedit.models.inception import conv_names

_CONV_NORM = (
    Rule("conv.weight", "kernel", CONV),
    Rule("bn.weight", "scale"),
    Rule("bn.bias", "bias"),
    Rule("bn.running_mean", "mean"),
    Rule("bn.running_var", "variance"),
)

KEYMAP = KeyMap(
    rules=tuple(
        rule
        for block, name in conv_names()
        for rule in under(f"{block}.{name}.".removeprefix("stem."), f"{block}/{name}/", _CONV_NORM)
    ),
    ignored=(r"fc\..*", r"AuxLogits\..*", r".*\.num_batches_tracked"),
)


def config_of(shapes: Shapes, settings: Settings) -> InceptionConfig:
    """Return the config; the network has a single size."""
    return InceptionConfig()
