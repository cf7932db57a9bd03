"""VAREdit behind `Editor`: one program from pixels to pixels."""

import contextlib
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from jaxedit import tree
from jaxedit.config import PretrainedConfig, SampleConfig
from jaxedit.data.text import TextTokenizer
from jaxedit.editor.system import Batch, Edited, Progress
from jaxedit.parallel import sharding
from jaxedit.sampling.varedit import Rows, Sampling, edit_pixels


class VAREditSystem:
    """The one compiled program, per `greedy`; numbers in the settings do not compile again."""

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree,
        tokenizer: TextTokenizer,
        *,
        dtype: str,
        mesh: Mesh | None,
        rows: int,
    ) -> None:
        """Put the weights on the devices.

        Args:
          config: of model_type varedit.
          params: {"bsq": ..., "transformer": ..., "t5": ...}.
          tokenizer: of the text encoder.
          dtype: of all networks but the image tokenizer, which stays float32.
          mesh: devices to spread rows and weights over; None: one device.
          rows: B.
        """
        self.config, self.tokenizer, self.dtype = config, tokenizer, dtype
        self.mesh, self.rows = mesh, rows
        self.size = config.varedit.latent_scales[-1][0] * config.bsq.stride
        self.text_tokens = config.varedit.max_text_tokens
        params = {
            name: tree.cast(params[name], "float32" if name == "bsq" else dtype)
            for name in ("bsq", "transformer", "t5")
        }
        self.params = jax.device_put(params, mesh and sharding.state_shardings(params, mesh))
        self._programs: dict[bool, Callable] = {}

    def compile(self, settings: tuple[SampleConfig]) -> None:
        """See `System`."""
        (sample,) = settings
        if sample.greedy in self._programs:
            return
        rows = Rows(
            pixels=np.zeros((self.rows, self.size, self.size, 3), np.uint8),
            ids=np.zeros((self.rows, self.text_tokens), np.int32),
            mask=np.zeros((self.rows, self.text_tokens), bool),
            seeds=np.zeros(self.rows, np.int32),
        )
        with jax.set_mesh(self.mesh) if self.mesh else contextlib.nullcontext():
            self._programs[sample.greedy] = edit_pixels.lower(
                *(self.params, self._place(rows), self._sampling(sample)),
                config=self.config,
                greedy=sample.greedy,
                dtype=self.dtype,
            ).compile()

    def run(
        self, batch: Batch, settings: tuple[SampleConfig], progress: Progress | None
    ) -> list[Edited]:
        """See `System`."""
        (sample,) = settings
        ids, mask = self.tokenizer(batch.instructions, self.text_tokens)
        rows = Rows(batch.pixels, ids, mask, batch.seeds)
        program = self._programs[sample.greedy]
        output = program(self.params, self._place(rows), self._sampling(sample))
        pixels, bits = jax.device_get(output)
        if progress:
            progress(1, 1)
        return [Edited(pixels[i], tuple(scale[i] for scale in bits)) for i in range(self.rows)]

    def _sampling(self, sample: SampleConfig) -> Sampling:
        K = len(self.config.varedit.scales)
        return Sampling(
            np.asarray(sample.per_scale("guidance", K), np.float32),
            np.asarray(sample.per_scale("temperature", K), np.float32),
            np.float32(sample.top_p),
        )

    def _place(self, rows: Rows) -> Rows:
        """Rows on the devices."""
        return jax.device_put(rows, self.mesh and sharding.batch_sharding(self.mesh))
