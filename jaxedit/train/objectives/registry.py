"""The choice of the objective that a config trains, and of the batches that it sees."""

import logging
from collections.abc import Iterator

from jaxedit.checkpoints import hub
from jaxedit.checkpoints.pretrained import abstract_params
from jaxedit.config import OFFICIAL, TrainConfig, family_of, require
from jaxedit.config.family import load
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.batch import EditBatch, collate
from jaxedit.data.loader import example_rows, make_loader
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.transforms import fit_of
from jaxedit.data.validation import ValidationRows
from jaxedit.train.objectives.lora import LoRAObjective, adapt, trained_by
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.training_data import TrainingData

log = logging.getLogger(__name__)


def build(config: TrainConfig) -> tuple[Objective, TrainingData]:
    """Return what `loop.train` needs for this config: what is trained, and its data.

    Raises:
      ConfigError, OSError: weights or data that do not exist or do not fit.
    """
    fit, cleaning = fit_of(config.model, config.fit), family_of(config.model).cleaning
    clean = load(cleaning) if cleaning else str
    if config.text_tokenizer in OFFICIAL:  # a release's tokenizer lies beside its weights
        ensure_converted(config.text_tokenizer)
    tokenizer = TextTokenizer.load(hub.tokenizer_home(config.text_tokenizer), clean)

    def batches_from(step: int, rows: range) -> Iterator[EditBatch]:
        return make_loader(config.data, tokenizer, fit=fit, start_step=step, rows=rows)

    rows = example_rows(config.data, config.sample_rows, fit)
    data = TrainingData(batches_from, collate(rows, tokenizer, config.data.text_tokens))
    if config.eval_every and not config.has_validation:
        log.info("no validation loss: data.validation names no rows, such as the share 0.01")
    if config.has_validation:
        validation = ValidationRows(config.data, tokenizer, config.eval_batches, fit)
        data = data._replace(validation=validation)
        if config.data.source != "toy":  # its examples are of the test split already
            data = data._replace(validation_examples=validation.examples(config.sample_rows))
    return make_objective(config), data


def make_objective(config: TrainConfig) -> Objective:
    """Return the objective of the config's model, with the weights that it needs."""
    objective = _whole_objective(config, is_abstract=False)
    return adapt(objective, config) if config.lora.rank else objective


def abstract_objective(config: TrainConfig) -> Objective:
    """Return the same objective with shapes in place of the networks that it does not train."""
    objective = _whole_objective(config, is_abstract=True)
    if not config.lora.rank:
        return objective
    shapes = abstract_params(config.model)
    return LoRAObjective(objective, config, {n: shapes[n] for n in trained_by(objective)})


def _whole_objective(config: TrainConfig, *, is_abstract: bool) -> Objective:
    """Return the objective that trains all parameters of the model.

    Raises:
      ConfigError: models of this family are not trained.
    """
    family = family_of(config.model)
    require(bool(family.objective), f"model_type={family.name!r}: expected one that is trained")
    return load(family.objective).from_config(config, is_abstract=is_abstract)
