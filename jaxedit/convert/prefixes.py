"""The keys of one network among all keys that a training program saved under prefixes."""

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")
# Keys, and first parts of keys, of the moving average of weights.
AVERAGES = (
    *("ema", "model_ema", "gpt_ema_fsdp", "ema_model", "ema_state_dict", "state_dict_ema"),
    *("params_ema", "model_ema_state_dict"),
)
# First parts of keys that wrap a network.
MODULES = (
    *("model", "module", "net", "network", "state_dict", "trainer", "gpt_fsdp", "gpt", "vae"),
    *("online_model", "generator", "_orig_mod", "_forward_module"),
)
# First parts of keys that only training needs.
LOSSES = (
    *("loss", "losses", "loss_fn", "criterion", "lpips", "perceptual_loss", "discriminator"),
    *("metrics", "optimizer"),
)
# Keys of counters beside moving averages: torch's AveragedModel, ema-pytorch, LitEma.
COUNTERS = {"n_averaged", "initted", "step", "num_updates", "decay"}


def weights_of(arrays: Mapping[str, Value], *, ema: bool) -> tuple[dict[str, Value], bool]:
    """Return the arrays of the network by key, and whether they are the moving average.

    The prefix that all keys share is removed. Keys of losses are left out. If there are weights
    and their moving average, `ema` selects the average.
    """
    is_average = False
    while True:  # removes one part of the prefix each time
        # Counters are dropped, but keys of the same names stay where nothing else is.
        counters = COUNTERS & arrays.keys()
        if counters < arrays.keys():
            arrays = {key: array for key, array in arrays.items() if key not in counters}
            is_average |= "n_averaged" in counters
        # The first parts of keys tell weights, averages and losses apart.
        firsts = {key: key.partition(".")[0] if "." in key else "" for key in arrays}
        present = set(firsts.values())
        averages = present & set(AVERAGES)
        wanted = present - set(LOSSES) - averages
        if averages and (ema or not wanted):
            wanted, is_average = averages, True
        if wanted and wanted != present:
            arrays = {key: array for key, array in arrays.items() if firsts[key] in wanted}
        if len(wanted) != 1 or not wanted <= {*MODULES, *AVERAGES}:
            return dict(arrays), is_average
        arrays = {key.partition(".")[2]: array for key, array in arrays.items()}
