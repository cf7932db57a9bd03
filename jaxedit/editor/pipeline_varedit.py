"""VAREdit behind `Editor`, Infinity behind `Generator`: one program that ends in pixels."""

import contextlib
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from jaxedit import tree
from jaxedit.config import PretrainedConfig, SampleConfig
from jaxedit.config.precision import dtype_of
from jaxedit.editor.pipeline import Batch, Edited, Progress
from jaxedit.editor.text_features import TextFeatures
from jaxedit.ops.int8 import quantize_if_kernel
from jaxedit.sampling.methods import Numbers, numbers_of
from jaxedit.sampling.sample_varedit import Rows, edit_pixels
from jaxedit.sharding import rules


class VAREditPipeline:
    """The one compiled program, per `greedy`; numbers in the settings do not compile again."""

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree,
        text: TextFeatures,
        *,
        dtype: str,
        mesh: Mesh | None,
        rows: int,
        int8: bool = False,
    ) -> None:
        """Put the weights on the devices.

        Args:
          config: of model_type varedit.
          params: {"bsq": ..., "transformer": ...}.
          text: the text encoder.
          dtype: of the transformer's blocks, see `config.precision`.
          mesh: devices to spread rows and weights over; None: one device.
          rows: B.
          int8: the kernels of the transformer's blocks become `Int8`.
        """
        self.config, self.text, self.dtype = config, text, dtype
        self.mesh, self.rows = mesh, rows
        self._reads_picture = bool(config.varedit.source_scales(config.varedit.scales))
        self.size = config.varedit.latent_scales[-1][0] * config.bsq.stride
        networks = {name: params[name] for name in ("bsq", "transformer")}
        networks = tree.map_with_path(
            lambda path, leaf: leaf.astype(dtype_of(path, "varedit", dtype)), networks
        )
        self.params = rules.place(networks, mesh, quantize_if_kernel if int8 else None)
        self._programs: dict[bool, Callable] = {}

    def compile(self, settings: tuple[SampleConfig]) -> None:
        """See `Pipeline`."""
        (sample,) = settings
        if sample.greedy in self._programs:
            return
        pixels = np.zeros((self.rows, self.size, self.size, 3), np.uint8)
        rows = Rows(
            pixels if self._reads_picture else None,
            *self.text.zeros(self.rows),
            seeds=np.zeros(self.rows, np.int32),
        )
        with jax.set_mesh(self.mesh) if self.mesh else contextlib.nullcontext():
            self._programs[sample.greedy] = edit_pixels.lower(
                *(self.params, self._place(rows), self._numbers(sample)),
                config=self.config,
                greedy=sample.greedy,
                dtype=self.dtype,
            ).compile()

    def run(
        self, batch: Batch, settings: tuple[SampleConfig], progress: Progress | None
    ) -> list[Edited]:
        """See `Pipeline`."""
        (sample,) = settings
        rows = Rows(batch.pixels, *self.text(batch.instructions), batch.seeds)
        program = self._programs[sample.greedy]
        output = program(self.params, self._place(rows), self._numbers(sample))
        pixels, bits = jax.device_get(output)
        if progress:
            progress(1, 1)
        return [Edited(pixels[i], tuple(scale[i] for scale in bits)) for i in range(self.rows)]

    def _numbers(self, sample: SampleConfig) -> Numbers:
        return numbers_of(sample, len(self.config.varedit.scales))

    def _place(self, rows: Rows) -> Rows:
        """Rows on the devices."""
        return jax.device_put(rows, self.mesh and rules.batch_sharding(self.mesh))
