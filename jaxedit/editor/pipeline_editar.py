"""EditAR and ERec behind `Editor`: a picture is read once, then each instruction decoded."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxedit import tree
from jaxedit.config import ERecConfig, PretrainedConfig, TokenSampleConfig
from jaxedit.editor.pipeline import Batch, Edited, Progress
from jaxedit.editor.text_features import TextFeatures
from jaxedit.erec import dual_path, restore
from jaxedit.erec.edit_mask import split
from jaxedit.sampling import sample_editar
from jaxedit.sharding import rules


class Rows(NamedTuple):
    """Pictures u8[B,S,S,3]; features f32[B,P,T,Ct], mask bool[B,P,T] of P texts; seeds i32[B]."""

    pixels: np.ndarray | None
    text: np.ndarray
    mask: np.ndarray
    seeds: np.ndarray


Settings = tuple[TokenSampleConfig] | tuple[TokenSampleConfig, ERecConfig]


class EditARPipeline:
    """Reads B pictures (and remembers them for the next instruction), decodes, and draws."""

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
        """Put the weights on the devices; with a mesh, all of them on each one.

        Args:
          config: of model_type editar.
          params: {"vq": ..., "transformer": ..., "null": ...}.
          text: the text encoder.
          dtype: of the transformer, see `config.precision`.
          mesh: devices to spread rows over; None: one device.
          rows: B.
          int8: the matrices of the transformer's layers become `Int8`.
        """
        self.config, self.text, self.mesh, self.rows = config, text, mesh, rows
        self.size = config.editar.grid * config.vq.stride
        networks = sample_editar.prepare(config, params, dtype, int8=int8)
        self.params = jax.device_put(networks, mesh and rules.replicated(mesh))
        self._segment = sample_editar.segment_of(config.editar)
        self._ready: set[Any] = set()
        self._read: tuple[str, sample_editar.EncodedSource] | None = None

    def compile(self, settings: Settings) -> None:
        """See `Pipeline`; edits blank pictures once."""
        key = _structure(settings)
        if key not in self._ready:
            pixels = np.zeros((self.rows, self.size, self.size, 3), np.uint8)
            rows = Rows(pixels, *self._no_texts(len(settings)), np.zeros(self.rows, np.int32))
            self._run(rows, settings, None)
            self._ready.add(key)

    def run(self, batch: Batch, settings: Settings, progress: Progress | None) -> list[Edited]:
        """See `Pipeline`."""
        words = [[words] for words in batch.instructions]
        if len(settings) > 1:
            words = [[settings[1].recon_prompt, *row] for row in words]
        return self._run(Rows(batch.pixels, *self._texts(words), batch.seeds), settings, progress)

    def _run(self, rows: Rows, settings: Settings, progress: Progress | None) -> list[Edited]:
        source = self._read_source(rows.pixels)
        if len(settings) == 1:
            return self._edit(source, rows, settings[0], progress)
        return self._edit_by_reconstruction(source, rows, *settings, progress)

    def _edit(
        self,
        source: sample_editar.EncodedSource,
        rows: Rows,
        sample: TokenSampleConfig,
        progress: Progress | None,
    ) -> list[Edited]:
        tokens = sample_editar.edit(
            *(self.params, source, *map(self._place, rows[1:])),
            sample=sample,
            config=self.config,
            segment=self._segment,
            progress=progress,
        )
        pixels = sample_editar.draw(self.params.vq, tokens, config=self.config)
        pixels, tokens = jax.device_get((pixels, self._on_grid(tokens)))
        return [Edited(p, (t,)) for p, t in zip(pixels, tokens, strict=True)]

    def _edit_by_reconstruction(
        self,
        source: sample_editar.EncodedSource,
        rows: Rows,
        sample: TokenSampleConfig,
        erec: ERecConfig,
        progress: Progress | None,
    ) -> list[Edited]:
        paths = dual_path.decode(
            *(self.params, source, *map(self._place, rows[1:])),
            sample=sample,
            erec=erec,
            config=self.config,
            segment=self._segment,
            progress=progress,
        )
        thresholds, structure = split(erec)
        refined = restore.refine(
            *(self.params.vq, self._place(rows.pixels), source.codes, paths, thresholds),
            erec=structure,
            config=self.config,
        )
        refined = refined._replace(tokens=self._on_grid(refined.tokens))
        pictures = {
            "reconstruction": sample_editar.draw(self.params.vq, paths.rec, config=self.config),
            "raw_edit": sample_editar.draw(self.params.vq, paths.edit, config=self.config),
        }
        maps = paths.maps._asdict()
        refined, maps, pictures = jax.device_get((refined, maps, pictures))
        return [
            Edited(
                pixels=refined.pixels[i],
                tokens=(refined.tokens[i],),
                mask=refined.mask[i],
                maps={name: values[i] for name, values in maps.items()},
                pictures={name: values[i] for name, values in pictures.items()},
            )
            for i in range(self.rows)
        ]

    def _read_source(self, pixels: np.ndarray | None) -> sample_editar.EncodedSource:
        """The pictures' codes and prefix; those of the last call are kept."""
        name = hashlib.sha256(pixels.tobytes()).hexdigest()
        if self._read is None or self._read[0] != name:
            source = sample_editar.read_source(self.params, self._place(pixels), config=self.config)
            self._read = (name, source)
        return self._read[1]

    def _texts(self, texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Features f32[B,P,T,Ct] and mask bool[B,P,T] of P texts per picture."""
        parts = zip(*(self.text(row) for row in texts), strict=True)
        return [np.stack(part) for part in parts]

    def _no_texts(self, count: int) -> list[np.ndarray]:
        """What `_texts` returns, for `count` texts per picture that say nothing."""
        parts = self.text.zeros(self.rows * count)
        return [part.reshape(self.rows, count, *part.shape[1:]) for part in parts]

    def _on_grid(self, tokens: jax.Array) -> jax.Array:
        g = self.config.editar.grid
        return tokens.reshape(-1, g, g)

    def _place(self, rows: np.ndarray) -> jax.Array:
        """Rows on the devices."""
        return jax.device_put(jnp.asarray(rows), self.mesh and rules.batch_sharding(self.mesh))


def _structure(settings: Settings) -> Any:
    """What compiled programs depend on."""
    sample, *erec = settings
    return (sample_editar.text_rows(sample), sample.guidance_mode, sample.greedy) + tuple(
        split(config)[1] for config in erec
    )
