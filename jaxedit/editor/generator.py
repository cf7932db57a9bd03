"""Generator: a loaded model that draws pictures from texts or classes."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxedit.config import method_of, require
from jaxedit.editor import provenance
from jaxedit.editor.loaded_model import LoadedModel, seeds_of
from jaxedit.editor.pipeline import Progress, Tokens


@dataclasses.dataclass(frozen=True)
class GenerateResult:
    """A picture drawn from a text or a class, and how it was made.

    Attributes:
      image: RGB, of the model's size.
      diagnostics: "seconds".
      tokens: the bits of each scale; of next-token models one array of token ids.
      settings: all that reproduces the picture, as JSON values, except the weights' SHA-256.
      fingerprint: computes the weights' SHA-256, which takes a while for the first picture.
    """

    image: Image.Image
    diagnostics: dict[str, Any]
    tokens: Tokens
    settings: dict[str, Any]
    fingerprint: Callable[[], str] = dataclasses.field(repr=False)

    def save(self, path: str | os.PathLike) -> dict[str, Any]:
        """Write a PNG file that carries all settings, and return them.

        Raises:
          ValueError: the name does not end in .png.
          OSError: the file cannot be written.
        """
        settings = self.settings | {"weights_sha256": self.fingerprint()}
        provenance.save_png(provenance.require_writable(path), self.image, settings)
        return settings


class Generator(LoadedModel):
    """A loaded base model, Infinity or LlamaGen: call `generate` or `generate_batch`."""

    purpose, text_name = "draw", "prompt"

    def generate(self, prompt: str | int, *, seed: int = 0, **options: Any) -> GenerateResult:
        """Draw a picture.

        Args:
          prompt: what the picture shows, in words; for models of classes, the number of a class.
          seed: another seed gives another picture; equal seeds give equal bits.
          **options: strict, progress, and the settings of the model's sampling method; see
            `generate_batch`.

        Raises:
          ValueError: an argument is unknown or out of its range.
        """
        return self.generate_batch([prompt], seed=seed, **options)[0]

    def generate_batch(
        self,
        prompts: Sequence[str | int],
        *,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        method: str | None = None,
        strict: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[GenerateResult]:
        """Draw several pictures, each as `generate` would with its own seed.

        Args:
          prompts: as for `generate`.
          seed: row i has the seed `seed + i`.
          seeds: a seed for each prompt, instead of `seed`.
          method: of sampling; a base model has only one.
          strict: refuse a prompt that is too long, instead of reading its beginning.
          progress: called with (steps done, steps in total); a step is a part of the sampling.
          **options: fields of SampleConfig (Infinity) or TokenSampleConfig (LlamaGen), such as
            guidance, temperature, top_p, greedy. Options that are left out or None have the values
            stored with the weights.

        Returns:
          The pictures, in the order of the prompts.

        Raises:
          ValueError: an argument is unknown or out of its range.
        """
        settings = self.settings(method, **options)
        require(len(prompts) > 0, "no prompts: expected at least one")
        texts = [_text_of(prompt) for prompt in prompts]
        seeds = seeds_of(len(texts), seed, seeds)
        for text in texts:
            self.check_text(text, strict=strict)
        method = method_of(self.config, method)
        made = self._make(texts, seeds, settings, progress)
        return [
            GenerateResult(
                image=Image.fromarray(output.pixels),
                diagnostics={"seconds": seconds},
                tokens=output.tokens,
                settings=self._record(method, settings, prompt=text, seed=int(seed)),
                fingerprint=self._fingerprint,
            )
            for (output, seconds), text, seed in zip(made, texts, seeds, strict=True)
        ]


def _text_of(prompt: str | int) -> str:
    """Return a prompt as text: the number of a class may be an int."""
    is_number = isinstance(prompt, int | np.integer) and not isinstance(prompt, bool)
    return str(prompt) if is_number else prompt
