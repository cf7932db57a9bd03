"""The pipeline of VAREdit and Infinity: one program, from pixels and text to pixels."""

import contextlib
from typing import Any

import jax
import numpy as np

from jaxedit import tree
from jaxedit.config import SampleConfig
from jaxedit.config.precision import dtype_of
from jaxedit.editor.pipeline import Batch, Output, Pipeline, Progress
from jaxedit.ops.int8 import quantize_if_kernel
from jaxedit.sampling.methods import Numbers, numbers_of
from jaxedit.sampling.sample_varedit import Rows, edit_pixels
from jaxedit.sharding import rules


class VAREditPipeline(Pipeline):
    """A program for greedy choice, another for sampling; all other settings are its arguments."""

    def _load(self, params: tree.Tree, *, int8: bool) -> None:
        self.size = self.config.varedit.latent_scales[-1][0] * self.config.bsq.stride
        self.grid = self.config.varedit.scales[-1][0]
        networks = tree.map_with_path(
            lambda path, leaf: leaf.astype(dtype_of(path, "varedit", self.dtype)),
            {name: params[name] for name in ("bsq", "transformer")},
        )
        self.params = rules.place(networks, self.mesh, quantize_if_kernel if int8 else None)

    def _structure(self, settings: tuple[SampleConfig]) -> bool:
        return settings[0].greedy

    def _compile(self, settings: tuple[SampleConfig]) -> jax.stages.Compiled:
        seeds, (pixels, edit_mask) = np.zeros(self.rows, np.int32), self._blank_sources()
        rows = Rows(pixels, *self.text.zeros(self.rows), seeds, edit_mask)
        with jax.set_mesh(self.mesh) if self.mesh else contextlib.nullcontext():
            return edit_pixels.lower(
                self.params,
                self._place(rows),
                self._numbers(settings),
                config=self.config,
                greedy=settings[0].greedy,
                dtype=self.dtype,
            ).compile()

    def run(
        self, batch: Batch, settings: tuple[SampleConfig], progress: Progress | None
    ) -> list[Output]:
        """Make B pictures; the program can tell its progress only at the end."""
        rows = Rows(batch.pixels, *self.text(batch.texts), batch.seeds, batch.edit_mask)
        program: Any = self._programs[self._structure(settings)]
        made = self._split(
            Output(*program(self.params, self._place(rows), self._numbers(settings)))
        )
        if progress:
            progress(1, 1)
        return made

    def _numbers(self, settings: tuple[SampleConfig]) -> Numbers:
        return numbers_of(settings[0], len(self.config.varedit.scales))
