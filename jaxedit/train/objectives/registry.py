"""Which objective a config trains, and the batches that it sees."""

from collections.abc import Callable, Iterator

from jaxedit.checkpoints import hub
from jaxedit.config import OFFICIAL, TrainConfig
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.batch import EditBatch, collate
from jaxedit.data.caption_cleaning import clean_caption
from jaxedit.data.loader import example_rows, make_loader
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.transforms import fit_of
from jaxedit.train.objectives import editar, varedit
from jaxedit.train.objectives.bsq import BSQObjective
from jaxedit.train.objectives.lora import adapt
from jaxedit.train.objectives.vq import VQObjective
from jaxedit.train.step import Objective


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
    return objective_of(config), batches_from, examples


def objective_of(config: TrainConfig) -> Objective:
    """The objective of the config's model, with the weights that it needs."""
    objective = _whole_objective(config)
    return adapt(objective, config) if config.lora.rank else objective


def _whole_objective(config: TrainConfig) -> Objective:
    """The objective that trains all parameters of the model."""
    if config.model.model_type == "bsq":
        return BSQObjective(config)
    if config.model.model_type == "vq":
        return VQObjective(config)
    if config.model.model_type == "editar":
        return editar.EditARObjective(config, *editar.load_frozen(config))
    return varedit.VAREditObjective(config, varedit.load_frozen(config))
