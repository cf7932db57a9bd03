"""The pipeline of VAREdit and Infinity: from pixels and texts to pixels, with and without ERec."""

import contextlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from jaxedit import tree
from jaxedit.config import SampleConfig, ScaleERecConfig
from jaxedit.config.precision import dtype_of
from jaxedit.editor.pipeline import Batch, Output, Pipeline, Progress
from jaxedit.erec.edit_mask import split
from jaxedit.erec.edit_varedit import by_program, find_mask, restore
from jaxedit.ops.int8 import quantize_if_kernel
from jaxedit.sampling.lock import runs_of
from jaxedit.sampling.methods import Numbers, numbers_of
from jaxedit.sampling.sample_varedit import Rows, edit_pixels
from jaxedit.sharding import rules
from jaxedit.sharding.columns import by_columns

_FUSED = re.compile(r"transformer/.*/(qkv|kv)/kernel")

Settings = tuple[SampleConfig] | tuple[SampleConfig, ScaleERecConfig]


def _structure_of(settings: Settings) -> dict[str, Any]:
    """Return the settings of sampling that are compiled into the programs."""
    return {"greedy": settings[0].greedy, "guided": settings[0].guided}


def maps_of(path: str) -> int:
    """Return how many maps of equal width the kernel at `path` holds; 0 if it is not fused."""
    found = _FUSED.fullmatch(path)
    return len(found[1]) if found else 0  # q, k and v: one letter for each map


class VAREditPipeline(Pipeline):
    """A program for each structure of the settings, and for each number of tokens that are run.

    All numbers among the settings are arguments of the programs.
    """

    def _load(self, params: tree.Tree, *, int8: bool) -> None:
        networks = tree.map_with_path(
            lambda path, leaf: leaf.astype(dtype_of(path, "varedit", self.dtype)),
            {name: params[name] for name in ("bsq", "transformer")},
        )
        self.params = rules.place(networks, self.mesh, self._finish(int8=int8))
        self._executables: dict[Any, jax.stages.Compiled] = {}
        self._judged_prompts: set[Any] = set()

    def _finish(self, *, int8: bool) -> Callable[[str, jax.Array], Any]:
        """Return a function that gives each parameter, by its path, its final form on the mesh."""
        is_cut = self.mesh is not None and self.mesh.shape["tensor"] > 1

        def finish(path: str, leaf: jax.Array) -> Any:
            kernel = quantize_if_kernel(path, leaf) if int8 else leaf
            maps = maps_of(path)
            if not (maps and is_cut):
                return kernel
            return by_columns(kernel, (leaf.shape[-1] // maps,) * maps, self.mesh)

        return finish

    @property
    def tokenizer(self) -> tree.Tree:
        """Return the parameters of the image tokenizer."""
        return self.params["bsq"]

    def structure(self, settings: Settings) -> Any:
        """See `Pipeline`."""
        return *_structure_of(settings).values(), *(split(erec)[1] for erec in settings[1:])

    def _compile(self, settings: Settings) -> None:
        """Make blank pictures, for which all programs but those of small masks are compiled."""
        P = len(settings)  # with ERec each picture has two texts
        texts = [
            part.reshape(self.rows, P, *part.shape[1:]) for part in self.text.zeros(self.rows * P)
        ]
        pixels, edit_mask = self._blank_sources()
        rows = Rows(pixels, *texts, np.zeros(self.rows, np.int32), edit_mask)
        (self._run if P == 1 else self._run_erec)(rows, settings)

    def _forget(self) -> None:
        """See `Pipeline`."""
        self._executables.clear()
        self._judged_prompts.clear()
        super()._forget()

    def run(self, batch: Batch, settings: Settings, progress: Progress | None) -> list[Output]:
        """Make B pictures; the programs can tell their progress only at the end."""
        texts = [[text] for text in batch.texts]
        if len(settings) > 1:
            texts = [[settings[1].recon_prompt, *row] for row in texts]
        features = map(np.stack, zip(*map(self.text, texts), strict=True))
        rows = Rows(batch.pixels, *features, batch.seeds, batch.edit_mask)
        if len(settings) == 1:
            made = self._run(rows, settings)
        else:
            made = self._judged(self._run_erec(rows, settings), rows, settings)
        if progress:
            progress(1, 1)
        return made

    def _run(self, rows: Rows, settings: tuple[SampleConfig]) -> list[Output]:
        """Make B pictures."""
        rows = rows._replace(text=rows.text[:, 0], mask=rows.mask[:, 0])
        arguments = (self.params, self._place(rows), self._numbers(settings))

        def run(runs: tuple[int, ...]) -> Output:
            program = self._program(edit_pixels, *arguments, **_structure_of(settings), runs=runs)
            return Output(*program(*arguments))

        return self._rows_by_need(rows.edit_mask, run)

    def _run_erec(self, rows: Rows, settings: tuple[SampleConfig, ScaleERecConfig]) -> list[Output]:
        """Make B pictures, and restore their background."""
        thresholds, erec = split(settings[1])
        numbers, placed = self._numbers(settings), self._place(rows)
        finding, restoring = by_program(erec)
        options = _structure_of(settings)
        arguments = (self.params, placed, numbers, thresholds)
        found, source = self._program(find_mask, *arguments, **options, erec=finding)(*arguments)
        arguments = (self.params, found, source, placed.pixels, placed.seeds, numbers)

        def run(runs: tuple[int, ...]) -> Output:
            made = self._program(restore, *arguments, **options, erec=restoring, runs=runs)(
                *arguments
            )
            return Output(made.pixels, made.bits, found.mask, found.maps._asdict(), made.pictures)

        return self._rows_by_need(np.asarray(found.mask), run)

    def _rows_by_need(
        self, mask: Bool[np.ndarray, "B H W"] | None, run: Callable[[tuple[int, ...]], Output]
    ) -> list[Output]:
        """Make B pictures; each is the same whatever the masks of the others.

        Args:
          mask: True where a picture may change; None: everywhere.
          run: makes all pictures with the given numbers of tokens, see `lock.runs_of`; called once
            for each numbers that a picture needs. Its arrays have an axis B in front.
        """
        if mask is None:
            return self._split(run(()))
        needs = [runs_of(row[None], self.config.varedit.scales) for row in mask]
        made = {need: self._split(run(need)) for need in dict.fromkeys(needs)}
        return [made[need][i] for i, need in enumerate(needs)]

    def _judged(self, made: list[Output], rows: Rows, settings: Settings) -> list[Output]:
        """Return edits with what is known of their reconstructions.

        One pass makes no reconstruction: of the first batch, sources are reconstructed apart.
        """
        prompt = settings[1].recon_prompt
        if "reconstruction" in made[0].pictures:
            return self._judge(made, made, rows.pixels, prompt)
        if (prompt, settings[0]) in self._judged_prompts:
            return made
        self._judged_prompts.add((prompt, settings[0]))
        whole = None if rows.edit_mask is None else np.ones_like(rows.edit_mask)
        alone = rows._replace(text=rows.text[:, :1], mask=rows.mask[:, :1], edit_mask=whole)
        apart = self._run(alone, settings[:1])
        apart = [output._replace(pictures={"reconstruction": output.pixels}) for output in apart]
        return self._judge(made, apart, rows.pixels, prompt)

    def _program(self, function: Any, *arguments: Any, **options: Any) -> jax.stages.Compiled:
        """Return a jitted function, compiled for arguments of these shapes and for options."""
        key = (function, jax.tree.structure(arguments), *sorted(options.items()))
        if key not in self._executables:
            with jax.set_mesh(self.mesh) if self.mesh else contextlib.nullcontext():
                self._executables[key] = function.lower(
                    *arguments, **options, config=self.config, dtype=self.dtype
                ).compile()
        return self._executables[key]

    def _numbers(self, settings: Settings) -> Numbers:
        return numbers_of(settings[0], len(self.config.varedit.scales))
