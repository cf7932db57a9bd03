"""The objective that a config trains, and the data of the run."""

import logging
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxedit.checkpoints import hub
from jaxedit.checkpoints.pretrained import abstract_params
from jaxedit.config import OFFICIAL, TrainConfig, family_of, require
from jaxedit.config.family import load
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.batch import EditBatch, Examples, examples_of
from jaxedit.data.loader import example_rows, make_loader
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.toy_benchmark import ToyBenchmark
from jaxedit.data.transforms import fit_of
from jaxedit.data.validation import ValidationRows
from jaxedit.train.objectives.lora import LoRAObjective, load_base, trained_by
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.stored_codes import find_codes

log = logging.getLogger(__name__)


class TrainingData(NamedTuple):
    """The data of a run.

    Attributes:
      batches_from: (finished steps, rows) -> these rows of the next batch, the batch after, ...;
        equal arguments give equal batches, so that a resumed run equals an uninterrupted run.
      examples: rows of the sample sheets.
      validation: rows of the validation loss, if any.
      validation_examples: rows of a second sheet, if any.
      benchmark: pairs whose edits are judged, if any.
    """

    batches_from: Callable[[int, range], Iterator[EditBatch]]
    examples: Examples
    validation: ValidationRows | None = None
    validation_examples: Examples | None = None
    benchmark: ToyBenchmark | None = None


def build(config: TrainConfig) -> tuple[Objective, TrainingData]:
    """Return the objective of a run, and its data.

    Raises:
      ConfigError, OSError: weights or data are missing or do not fit.
    """
    fit, cleaning = fit_of(config.model, config.fit), family_of(config.model).cleaning
    clean = load(cleaning) if cleaning else str
    if config.text_tokenizer in OFFICIAL:  # a release's tokenizer is in its converted directory
        ensure_converted(config.text_tokenizer)
    tokenizer = TextTokenizer.load(hub.tokenizer_home(config.text_tokenizer), clean)

    rows = example_rows(config.data, config.sample_rows, fit)
    objective = make_objective(config)
    codes = find_codes(config, objective, fit)
    objective.has_stored_codes = codes is not None

    def batches_from(step: int, rows: range) -> Iterator[EditBatch]:
        return make_loader(config.data, tokenizer, fit=fit, start_step=step, rows=rows, codes=codes)

    examples = examples_of(rows, tokenizer, config.data.text_tokens)
    data = TrainingData(batches_from, examples)
    if config.eval_every and not config.has_validation:
        log.info("no validation loss: data.validation names no rows, such as the share 0.01")
    if config.has_validation:
        validation = ValidationRows(config.data, tokenizer, config.eval_batches, fit)
        data = data._replace(validation=validation)
        if config.data.source != "toy":  # the toybox's examples are of the test split already
            data = data._replace(validation_examples=validation.examples(config.sample_rows))
    if config.eval_every and config.eval_benchmark:
        benchmark = ToyBenchmark(config.data, tokenizer, config.eval_samples)
        data = data._replace(benchmark=benchmark)
    return objective, data


def make_objective(config: TrainConfig) -> Objective:
    """Return the objective of the config's model, with the weights that it needs.

    Raises:
      ConfigError: models of this family are not trained, or weights do not fit.
      OSError: weights are missing.
    """
    objective = _whole_objective(config, is_abstract=False)
    if not config.lora.rank:
        return objective
    objective = LoRAObjective(objective, config, load_base(objective, config))
    matrices = sum(math.prod(shape[:-2]) for shape in objective.kernels.values())
    log.info("LoRA of rank %d on %d matrices of %s", config.lora.rank, matrices, config.init_from)
    return objective


def abstract_objective(config: TrainConfig) -> Objective:
    """Return the same objective with shapes in place of the networks that it does not train."""
    objective = _whole_objective(config, is_abstract=True)
    if not config.lora.rank:
        return objective
    shapes = abstract_params(config.model)
    return LoRAObjective(objective, config, {n: shapes[n] for n in trained_by(objective)})


def _whole_objective(config: TrainConfig, *, is_abstract: bool) -> Objective:
    """Return the objective that trains all parameters of the model."""
    family = family_of(config.model)
    require(bool(family.objective), f"model_type={family.name!r}: expected one that is trained")
    return load(family.objective).from_config(config, is_abstract=is_abstract)
