"""The arithmetic that a training step needs, and how fast devices can be: model FLOPs utilisation.

Counted is what the mathematics needs, see `Objective.passes`: what is computed again to save memory
does not count.
"""

import re
from typing import NamedTuple

import jax

from jaxedit.config import TrainConfig
from jaxedit.train.objectives.objective import Objective

# device_kind -> 1e12 operations per second of dense bfloat16 products, by the makers' data sheets;
# of one device as jax counts them; the first pattern that is found in it counts
PEAKS = (
    (r"TPU7x|TPU v7", 1153.5),  # half a chip
    (r"TPU v6", 918),
    (r"TPU v5 ?(lite|e)", 197),
    (r"TPU v5", 459),
    (r"TPU v4 lite", 138),
    (r"TPU v4", 275),
    (r"TPU v3", 61.5),  # half a chip
    (r"TPU v2", 22.5),  # half a chip
    (r"B200", 2250),
    (r"H100 PCIe", 756),
    (r"H100 NVL", 835),
    (r"GH200|H[12]00", 989),
    (r"A100|A800", 312),
    (r"L40S", 362),
    (r"L40", 181),
    (r"A6000", 155),
    (r"A10", 125),
    (r"L4", 121),
    (r"4090", 165),
    (r"3090", 71),
)


class StepFlops(NamedTuple):
    """What a step asks of the devices.

    flops: additions and multiplications of a step, of all devices together; devices: how many;
    peak: operations per second of one device, None if it is not known.
    """

    flops: float
    devices: int
    peak: float | None

    def rates(self, steps_per_second: float) -> dict[str, float]:
        """Return TFLOP/s of each device and, if its peak is known, their share in it (MFU)."""
        rate = self.flops * steps_per_second / self.devices
        found = {"tflops_per_device": rate / 1e12}
        return found | {"mfu": rate / self.peak} if self.peak else found


def step_flops(config: TrainConfig, objective: Objective) -> StepFlops:
    """Count the operations of one step on this run's devices."""
    flops = config.data.batch_size * flops_per_pair(objective)
    return StepFlops(flops, jax.device_count(), peak_flops(jax.devices()[0].device_kind))


def flops_per_pair(objective: Objective) -> float:
    """Count the operations of the loss of one pair of pictures, and of its gradient."""
    return sum(one.flops for one in objective.passes())


def peak_flops(kind: str) -> float | None:
    """Return the operations per second of a kind of device, None if they are not known."""
    return next((1e12 * peak for pattern, peak in PEAKS if re.search(pattern, kind)), None)
