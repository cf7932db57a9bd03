"""LlamaGen behind `Generator`: a picture from a text or from a class, without a source picture."""

import numpy as np

from jaxedit.editor.pipeline_editar import EditARPipeline
from jaxedit.sampling.sample_editar import NO_SOURCE, EncodedSource


class LlamaGenPipeline(EditARPipeline):
    """Decodes and draws as EditAR does, after text or class alone."""

    def _read_source(self, pixels: np.ndarray | None) -> EncodedSource:
        return NO_SOURCE
