"""Rubrics: what a judge is asked about an edit, and the scores that follow from its replies.

The prompts are files in `prompts/`, in our own words: numbers of judges with other prompts, as of
other models, cannot be compared.
"""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from jaxedit.config import ConfigError, require
from jaxedit.evaluate.judges.replies import read_lines, read_pair
from jaxedit.evaluate.sample import Sample

Numbers = Sequence[float]

_PROMPTS = pathlib.Path(__file__).parent / "prompts"
_INSTRUCTION = "<instruction>"


@dataclasses.dataclass(frozen=True)
class Question:
    """A prompt and the pictures that the judge sees with it."""

    # Name of a file, without .txt; for samples of type T, NAME_T.txt is preferred if it exists
    prompt: str
    pictures: tuple[str, ...] = ("source", "edited")  # fields of `Edit`


@dataclasses.dataclass(frozen=True)
class Rubric:
    """Questions about an edit and the scores from the replies."""

    scores: tuple[str, ...]
    questions: tuple[Question, ...]
    read: Callable[[str], Numbers | None]  # reads the numbers of a reply, if they are there
    score: Callable[..., dict[str, float]]  # takes the numbers of each question
    decimals: int = 3  # in the papers' tables
    prompts: pathlib.Path = _PROMPTS

    def with_prompts(self, directory: pathlib.Path) -> "Rubric":
        """Return the rubric with a user's prompts, in files of the same names.

        Raises:
          ConfigError: a file is missing, or not a prompt.
        """
        rubric = dataclasses.replace(self, prompts=directory)
        for question in self.questions:
            rubric.prompt(question, Sample(key="", source=b"", instruction=""))
        return rubric

    def prompt(self, question: Question, sample: Sample) -> str:
        """Return the text that asks a question about a sample.

        Raises:
          ConfigError: the file is missing, or does not say where the instruction is inserted.
        """
        path = self.prompts / f"{question.prompt}_{sample.type}.txt"
        path = path if path.is_file() else self.prompts / f"{question.prompt}.txt"
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: expected a prompt in UTF-8: {error}") from error
        shows_source = "source" in question.pictures
        require(
            _INSTRUCTION in text or not shows_source,
            f"{path}: expected {_INSTRUCTION} where the instruction is inserted",
        )
        return text.strip().replace(_INSTRUCTION, sample.instruction)

    def prompt_hash(self) -> str:
        """Return a hash of all prompts, by which reports tell them apart."""
        names = [question.prompt for question in self.questions]
        paths = sorted({path for name in names for path in self.prompts.glob(f"{name}*.txt")})
        texts = [f"{path.name}\n{path.read_text('utf-8')}" for path in paths]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def balance(success: float, over: float) -> float:
    """Return the harmonic mean of two scores of an edit, 0 if one of them is 0.

    Source: VAREdit, appendix A.2.2.
    """
    return 2 * success * over / (success + over) if success and over else 0.0


def successful_edits(
    scores: Iterable[Mapping[str, float]], threshold: float = 9.0
) -> tuple[int, float]:
    """Return the number of edits whose GPT-Suc reaches the threshold, and their mean GPT-Over.

    Source: VAREdit, figure 4. The mean of no edits is NaN.
    """
    over = [each["gpt_over"] for each in scores if each["gpt_suc"] >= threshold]
    return len(over), sum(over) / len(over) if over else math.nan


def _gpt(numbers: Numbers) -> dict[str, float]:
    success, over = numbers
    return {"gpt_suc": success, "gpt_over": over, "gpt_bal": balance(success, over)}


def _viescore(semantics: Numbers, quality: Numbers) -> dict[str, float]:
    """Return the smaller score of each question, and their geometric mean.

    Source: VIEScore (Ku et al. 2024), as in GEdit-Bench.
    """
    sc, pq = min(semantics), min(quality)
    return {"viescore_sc": sc, "viescore_pq": pq, "viescore_overall": math.sqrt(sc * pq)}


def _imgedit(numbers: Numbers) -> dict[str, float]:
    """Return the three scores, if all are there, and the mean, rounded as in ImgEdit-Bench."""
    names = ("imgedit_1", "imgedit_2", "imgedit_3")
    each = dict(zip(names, numbers, strict=True)) if len(numbers) == 3 else {}
    return each | {"imgedit_overall": round(sum(numbers) / len(numbers), 2)}


def _toy(numbers: Numbers) -> dict[str, float]:
    success, over = numbers
    return {"toy_suc": success, "toy_over": over, "toy_bal": balance(success, over)}


JUDGES = {
    "varedit": Rubric(
        scores=("gpt_suc", "gpt_over", "gpt_bal"),
        questions=(Question("varedit"),),
        read=read_pair,
        score=_gpt,
    ),
    "viescore": Rubric(
        scores=("viescore_sc", "viescore_pq", "viescore_overall"),
        questions=(Question("viescore_sc"), Question("viescore_pq", ("edited",))),
        read=read_pair,
        score=_viescore,
    ),
    "imgedit": Rubric(
        scores=("imgedit_1", "imgedit_2", "imgedit_3", "imgedit_overall"),
        questions=(Question("imgedit"),),
        read=read_lines,
        score=_imgedit,
        decimals=2,
    ),
    "imgedit-uge": Rubric(
        scores=("imgedit_overall",),
        questions=(Question("imgedit_uge"),),
        read=read_lines,
        score=_imgedit,
        decimals=2,
    ),
    "toy": Rubric(
        scores=("toy_suc", "toy_over", "toy_bal"),
        questions=(Question("toy", ("source", "target", "edited")),),
        read=read_pair,
        score=_toy,
    ),
}
