"""The memory of each device while a picture is edited or drawn, computed from settings alone.

Weights and caches are exact: the shapes of what the programs allocate. Activations are an estimate,
see `planning.activations`: those of the largest phase, with the caches that are kept meanwhile.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit import tree
from jaxedit.checkpoints.networks import abstract_params
from jaxedit.config import MeshConfig, PretrainedConfig
from jaxedit.config.families import family_of, sizes_of
from jaxedit.config.family import load
from jaxedit.config.precision import t5_dtype_for
from jaxedit.editor.memory_phases import Phase, Phases, Shape, in_memory
from jaxedit.ops import int8
from jaxedit.planning import activations
from jaxedit.planning.device_memory import MemoryItem, MemorySaving, bytes_per_device, total
from jaxedit.sharding.mesh import abstract_mesh

READING = "reading the text"
_NAMES = {"bsq": "image tokenizer", "vq": "image tokenizer", "t5": "text encoder"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The way in which a model will be run.

    Attributes:
      dtype: of the transformer.
      t5_dtype: of the text encoder; None: see `t5_dtype_for`.
      rows: pictures at once on each device.
      text: where the text encoder is: "device", "host", or "file" if features are read from one.
      int8: networks whose kernels are integers: t5, transformer.
      tensor: devices that share the weights and the heads.
    """

    dtype: str = "bfloat16"
    t5_dtype: str | None = None
    rows: int = 1
    text: str = "device"
    int8: tuple[str, ...] = ()
    tensor: int = 1

    @classmethod
    def of(
        cls,
        *,
        dtype: str | None = None,
        t5_dtype: str | None = None,
        rows_per_device: int = 1,
        text_on_host: bool = False,
        text_features: object = None,
        int8: Sequence[str] = (),
    ) -> "Plan":
        """Return the plan for the arguments of `LoadedModel`; without `dtype` it is bfloat16."""
        return cls(
            dtype=dtype or "bfloat16",
            t5_dtype=t5_dtype,
            rows=rows_per_device,
            text="host" if text_on_host else "file" if text_features else "device",
            int8=tuple(int8),
        )


def memory_items(
    config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan
) -> list[MemoryItem]:
    """List everything in the memory of a device.

    The settings are what `settings_of` returns.
    """
    how = (plan.dtype, plan.t5_dtype, plan.rows, plan.tensor)
    rows_per_picture, phases = _phases(config, settings, *how)
    if plan.text != "device":
        phases = [phase for phase in phases if phase.name != READING]
    caches = max(phase.kept for phase in phases)
    heaviest = max(phases, key=lambda phase: phase.kept + phase.needs)
    beside = heaviest.kept + heaviest.needs - caches
    return [
        *_weights(config, plan),
        MemoryItem("keys and values", caches, f"{plan.rows} x {rows_per_picture} rows"),
        MemoryItem("activations", beside, f"estimate; at most while {heaviest.name}"),
    ]


def memory_savings(
    config: PretrainedConfig, settings: tuple[Any, ...], plan: Plan
) -> list[MemorySaving]:
    """List the changes of settings that save memory, the cheapest first."""
    changes: list[tuple[str, dict[str, Any]]] = []
    if plan.text == "device" and family_of(config).reads == "text":
        changes.append(("--text_on_host or --text_features=FILE", {"text": "host"}))
    if plan.rows > 1:
        changes.append(("--rows_per_device=1", {"rows": 1}))
    if plan.dtype == "float32":
        changes.append(("--dtype=bfloat16", {"dtype": "bfloat16"}))
    if "transformer" not in plan.int8:
        networks = tuple(sorted({*plan.int8, "transformer"}))
        changes.append((f"--int8={','.join(networks)}", {"int8": networks}))
    more = "larger tensor in --mesh" if plan.tensor > 1 else "weights cut over several"
    changes.append((f"a device with more memory, or {more}", {}))
    found = []
    for change, fields in changes:
        plan = dataclasses.replace(plan, **fields)
        found.append(MemorySaving(change, total(memory_items(config, settings, plan))))
    return found


def _weights(config: PretrainedConfig, plan: Plan) -> list[MemoryItem]:
    found = []
    for network, shapes in abstract_params(config).items():
        params = in_memory({network: shapes}, config, plan.dtype, plan.t5_dtype)
        kinds = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)})
        if network in plan.int8:
            params, kinds = tree.map_with_path(_quantized, params), ["int8"]
        size = _bytes(config, params, plan.tensor)
        remark = f"{tree.count(shapes):,} in {' and '.join(kinds)}"
        if network == "t5" and plan.text != "device":
            size, remark = 0, f"on the host, {size / 1e9:.2f} GB"
            if plan.text == "file":
                remark = "not loaded while the file has all features"
        found.append(MemoryItem(_NAMES.get(network, network), size, remark))
    return found


def _bytes(config: PretrainedConfig, params: tree.Tree, tensor: int) -> int:
    """Return the bytes of a network on each of the devices that share it."""
    if tensor == 1:
        return bytes_per_device(params, None)
    flat, shared = tree.flatten(params), re.compile(family_of(config).shared)
    cut = {path: leaf for path, leaf in flat.items() if shared.match(path)}
    whole = {path: leaf for path, leaf in flat.items() if path not in cut}
    mesh = abstract_mesh(MeshConfig(data=1, tensor=tensor), tensor)
    return bytes_per_device(whole, None) + bytes_per_device(cut, mesh)


def _quantized(path: str, leaf: Shape) -> Any:
    return jax.eval_shape(int8.quantize, leaf) if int8.KERNELS.search(path) else leaf


@functools.lru_cache(8)
def _phases(
    config: PretrainedConfig,
    settings: tuple[Any, ...],
    dtype: str,
    t5_dtype: str | None,
    rows: int,
    tensor: int,
) -> Phases:
    """Return the phases of the model's architecture, after reading the text if it reads one."""
    family = family_of(config)
    phases = load(family.memory)(config, settings, dtype, rows, tensor)
    if family.reads != "text":
        return phases
    itemsize = jnp.dtype(t5_dtype or t5_dtype_for(dtype)).itemsize
    needs = activations.t5(config.t5, sizes_of(config).text_tokens, itemsize)
    return phases._replace(parts=[Phase(READING, 0, needs), *phases.parts])
