"""Which objective a config trains, and the batches that it sees."""

from collections.abc import Callable, Iterator

from jaxedit.checkpoints import hub
from jaxedit.checkpoints.pretrained import abstract_params
from jaxedit.config import OFFICIAL, TrainConfig
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.batch import EditBatch, collate
from jaxedit.data.caption_cleaning import clean_caption
from jaxedit.data.loader import example_rows, make_loader
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.transforms import fit_of
from jaxedit.train.objectives import editar, varedit
from jaxedit.train.objectives.bsq import BSQObjective
from jaxedit.train.objectives.lora import LoRAObjective, adapt, trained_by
from jaxedit.train.objectives.objective import Objective
from jaxedit.train.objectives.vq import VQObjective


def build(
    config: TrainConfig,
) -> tuple[Objective, Callable[[int, range], Iterator[EditBatch]], EditBatch]:
    """What `loop.train` needs for this config.

    Returns:
      (objective, (finished steps, rows) -> batches, examples for the sample sheets)

    Raises:
      ConfigError, OSError: weights or data that do not exist or do not fit.
    """
    is_text_to_image = config.model.editar is not None and config.model.editar.prefix == "text"
    fit = fit_of(config.model, config.fit)
    clean = clean_caption if is_text_to_image else str
    if config.text_tokenizer in OFFICIAL:  # a release's tokenizer lies beside its weights
        ensure_converted(config.text_tokenizer)
    tokenizer = TextTokenizer.load(hub.tokenizer_home(config.text_tokenizer), clean)

    def batches_from(step: int, rows: range) -> Iterator[EditBatch]:
        return make_loader(config.data, tokenizer, fit=fit, start_step=step, rows=rows)

    rows = example_rows(config.data, config.sample_rows, fit)
    examples = collate(rows, tokenizer, config.data.text_tokens)
    return make_objective(config), batches_from, examples


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
    """Return the objective that trains all parameters of the model."""
    if config.model.model_type == "bsq":
        return BSQObjective(config)
    if config.model.model_type == "vq":
        return VQObjective(config)
    if config.model.model_type == "editar":
        frozen = editar.abstract_frozen if is_abstract else editar.load_frozen
        return editar.EditARObjective(config, *frozen(config))
    frozen = varedit.abstract_frozen if is_abstract else varedit.load_frozen
    return varedit.VAREditObjective(config, frozen(config))
