"""The pipeline of EditAR, ERec and LlamaGen: read the picture once, decode each text, draw."""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int32, UInt8

from jaxedit import tree
from jaxedit.config import EditARConfig, ERecConfig, TokenSampleConfig
from jaxedit.editor.pipeline import Batch, Output, Pipeline, Progress
from jaxedit.erec import dual_path, restore
from jaxedit.erec.edit_mask import split
from jaxedit.sampling import sample_editar
from jaxedit.sampling.lock import cells_in
from jaxedit.sampling.sample_editar import NO_SOURCE, EncodedSource, Networks
from jaxedit.sharding import rules
from jaxedit.sharding.columns import by_columns, rows_of

Settings = tuple[TokenSampleConfig] | tuple[TokenSampleConfig, ERecConfig]
_cells_in = jax.jit(cells_in, static_argnames="grid")


class EditARPipeline(Pipeline):
    """Several programs; the pictures read last are kept for the next instruction."""

    def _load(self, params: tree.Tree, *, int8: bool) -> None:
        """Put the weights on the devices; on a mesh `tensor` cuts the transformer's layers."""
        networks = sample_editar.prepare(self.config, params, self.dtype, int8=int8)
        self.params = _placed(networks, self.config.editar, self.mesh)
        self._segment = sample_editar.segment_of(self.config.editar)
        self._read: tuple[str, EncodedSource] | None = None

    @property
    def tokenizer(self) -> tree.Tree:
        """Return the parameters of the image tokenizer."""
        return self.params.vq

    def structure(self, settings: Settings) -> Any:
        """See `Pipeline`."""
        sample, *erec = settings
        structures = [split(config)[1] for config in erec]
        rows, window = sample_editar.text_rows(sample), sample_editar.window_of(sample)
        return rows, window, sample.guidance_mode, sample.greedy, *structures

    def _compile(self, settings: Settings) -> None:
        """Make blank pictures, for which `jit` compiles all programs."""
        P = len(settings)  # with ERec each picture has two texts
        texts = [
            part.reshape(self.rows, P, *part.shape[1:]) for part in self.text.zeros(self.rows * P)
        ]
        seeds = np.zeros(self.rows, np.int32)
        self._run(*self._blank_sources(), (*texts, seeds), settings, None)

    def run(self, batch: Batch, settings: Settings, progress: Progress | None) -> list[Output]:
        """Make B pictures; a step of the progress is a token."""
        texts = [[text] for text in batch.texts]
        if len(settings) > 1:
            texts = [[settings[1].recon_prompt, *row] for row in texts]
        features = zip(*map(self.text, texts), strict=True)  # of each text, and their masks
        inputs = (*map(np.stack, features), batch.seeds)
        made = self._run(batch.pixels, batch.edit_mask, inputs, settings, progress)
        if len(settings) == 1:
            return made
        return self._judge(made, made, batch.pixels, settings[1].recon_prompt)

    def _run(
        self,
        pixels: UInt8[np.ndarray, "B S S 3"] | None,
        edit_mask: Bool[np.ndarray, "B S S"] | None,
        inputs: tuple[np.ndarray, ...],
        settings: Settings,
        progress: Progress | None,
    ) -> list[Output]:
        """Make B pictures from sources and (text features [B,P,...], their mask, seeds)."""
        source, editable = self._read_source(pixels), None
        if edit_mask is not None:
            editable = _cells_in(self._place(edit_mask), grid=(self.grid, self.grid))
        options = {"config": self.config, "segment": self._segment, "progress": progress}
        options["editable"] = editable
        text, mask, seeds = self._place(inputs)
        if len(settings) > 1:
            sample, erec = settings
            paths = dual_path.decode(
                self.params, source, text, mask, seeds, sample=sample, erec=erec, **options
            )
            return self._split(self._restore(self._place(pixels), source, paths, erec, editable))
        tokens = sample_editar.edit(
            self.params, source, text, mask, seeds, sample=settings[0], **options
        )
        return self._split(Output(self._draw(tokens), (self._on_grid(tokens),)))

    def _restore(
        self,
        pixels: UInt8[Array, "B S S 3"],
        source: EncodedSource,
        paths: dual_path.Paths,
        erec: ERecConfig,
        editable: Bool[Array, "B N"] | None,
    ) -> Output:
        """Restore the background of B edits; the result's arrays have an axis B in front."""
        thresholds, structure = split(erec)
        refined = restore.refine(
            self.params.vq,
            pixels,
            source.codes,
            paths,
            thresholds,
            erec=structure,
            config=self.config,
            editable=editable,
        )
        return Output(
            pixels=refined.pixels,
            tokens=(self._on_grid(refined.tokens),),
            mask=refined.mask,
            maps=paths.maps._asdict(),
            pictures={"reconstruction": self._draw(paths.rec), "raw_edit": self._draw(paths.edit)},
        )

    def _read_source(self, pixels: UInt8[np.ndarray, "B S S 3"] | None) -> EncodedSource:
        """Return the codes and the prefix of pictures; read them only if they are new."""
        if pixels is None:
            return NO_SOURCE
        name = hashlib.sha256(pixels.tobytes()).hexdigest()
        if self._read is None or self._read[0] != name:
            source = sample_editar.read_source(self.params, self._place(pixels), config=self.config)
            self._read = (name, source)
        return self._read[1]

    def _draw(self, tokens: Int32[Array, "B N"]) -> UInt8[Array, "B S S 3"]:
        return sample_editar.draw(self.params.vq, tokens, config=self.config)

    def _on_grid(self, tokens: Int32[Array, "B N"]) -> Int32[Array, "B h w"]:
        return tokens.reshape(-1, self.grid, self.grid)


def _placed(networks: Networks, c: EditARConfig, mesh: Mesh | None) -> Networks:
    """Put networks on the devices of a mesh; None: on one device.

    On a mesh each device has its columns of the products that begin attention and MLP, its rows of
    the products that end them, and a copy of everything else.
    """
    if mesh is None or mesh.shape["tensor"] == 1:
        return jax.device_put(networks, mesh and rules.replicated(mesh))
    shared = c.groups * c.head_width
    widths = {"qkv": (c.width, shared, shared), "gate_up": (c.mlp_hidden, c.mlp_hidden)}

    def place(path: str, leaf: Any) -> Any:
        *_, name, kind = path.split("/")
        if kind != "kernel":
            return jax.device_put(leaf, rules.replicated(mesh))
        if name in widths:
            return by_columns(leaf, widths[name], mesh)
        return jax.tree.map(lambda x: jax.device_put(x, rows_of(mesh, x.shape)), leaf)

    layers = tuple(tree.map_with_path(place, layer) for layer in networks.weights.layers)
    whole = dataclasses.replace(networks.weights, layers=())
    networks = jax.device_put(networks._replace(weights=whole), rules.replicated(mesh))
    return networks._replace(weights=dataclasses.replace(networks.weights, layers=layers))
