"""Generator: a loaded model that draws pictures from texts or classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxedit.config import as_options, method_of, require
from jaxedit.editor.loaded_model import LoadedModel, seeds_of
from jaxedit.editor.pipeline import Batch, GenerateResult, Progress
from jaxedit.editor.text_features import require_words


class Generator(LoadedModel):
    """A loaded base model, Infinity or LlamaGen: `generate` and `generate_batch`."""

    purpose = "draw"

    def generate(self, prompt: str | int, *, seed: int = 0, **options: Any) -> GenerateResult:
        """Draw one picture.

        Args:
          prompt: what it shows, in words; or the number of a class, for models of classes.
          seed: another seed gives another picture; equal seeds give equal bits.
          **options: strict, progress, and the settings of the model's sampling method; see
            `generate_batch`.

        Returns:
          The picture.

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
          seeds: one per prompt, instead of `seed`.
          method: of sampling; a base model has one.
          strict: refuse a prompt that is too long, instead of reading its beginning.
          progress: called with (steps done, steps in all); a step is a part of the sampling.
          **options: fields of SampleConfig (Infinity) or TokenSampleConfig (LlamaGen), such as
            guidance, temperature, top_p, greedy. Those left out or None are what came with the
            weights.

        Returns:
          One result per prompt.

        Raises:
          ValueError: an argument is unknown or out of its range.
        """
        settings = self.settings(method, **options)
        prompts, count = [self.words_of(prompt) for prompt in prompts], len(prompts)
        require(count > 0, "no prompts: expected at least one")
        seeds = seeds_of(count, seed, seeds)
        for prompt in prompts:
            self.check_prompt(prompt, strict=strict)
        self.compile(method, **options)
        self.text.prepare(prompts)
        record = {"model": self.name, "method": method_of(self.config, method)}
        common = as_options(settings) | self._placement()

        def batch_of(part: slice) -> Batch:
            words, numbers = self._filled(prompts[part]), self._filled(seeds[part])
            return Batch(None, words, np.asarray(numbers, np.int32))

        made = self._run(count, batch_of, settings, progress)
        return [
            GenerateResult(
                image=Image.fromarray(drawn.pixels),
                diagnostics={"seconds": seconds},
                tokens=drawn.tokens,
                settings=record | {"prompt": prompt, "seed": int(seed)} | common,
                fingerprint=self._fingerprint,
            )
            for (drawn, seconds), prompt, seed in zip(made, prompts, seeds, strict=True)
        ]

    def read_texts(self, prompts: Sequence[str]) -> None:
        """Add to the file of text features what it lacks of them, all at once."""
        self.text.prepare(prompts)

    def check_prompt(self, prompt: str, *, strict: bool = False) -> None:
        """Raise ConfigError unless the model can read `prompt`, in full if `strict`."""
        require_words(prompt, "prompt")
        self.text.check(prompt, strict=strict)

    @staticmethod
    def words_of(prompt: str | int) -> str:
        """Return a prompt as text: the number of a class may be an int."""
        is_number = isinstance(prompt, int | np.integer) and not isinstance(prompt, bool)
        return str(prompt) if is_number else prompt
