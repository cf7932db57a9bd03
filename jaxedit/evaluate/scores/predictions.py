"""Outputs of networks that run elsewhere, read from files: depths and classes of edits' pixels."""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Shaped
from PIL import Image

# Network of a score -> what has to be predicted, and by which network for numbers as published
PREDICTED = {
    "depth": "depths, by Intel/dpt-large",
    "segmentation": "classes 0..170 of COCO-Stuff, by mmsegmentation's DeepLabV3 "
    "(deeplabv3_r101-d8_512x512_4x4_320k_coco-stuff164k)",
}


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A folder with `<key>.npy` or `<key>.png` for each sample; stands in for a network."""

    folder: pathlib.Path

    def read(self, key: str) -> Shaped[np.ndarray, "H W"]:
        """Return the prediction for the edit of a sample.

        Raises:
          FileNotFoundError: there is none.
          ValueError: it is damaged, or does not have one number a pixel.
        """
        for suffix in (".npy", ".png"):
            path = self.folder / f"{key}{suffix}"
            if path.exists():
                try:
                    values = np.load(path) if suffix == ".npy" else np.asarray(Image.open(path))
                except (ValueError, OSError, EOFError) as error:
                    raise ValueError(f"{path}: expected a prediction: {error}") from error
                if values.ndim != 2:
                    raise ValueError(f"{path}: shape {list(values.shape)}: expected [H,W]")
                return values
        raise FileNotFoundError(f"no prediction: expected {self.folder / key}.npy or .png")
