"""Networks that a run needs and does not train, read from pretrained directories."""

from jaxedit import tree
from jaxedit.config import EditARConfig, PretrainedConfig, ViTConfig, require
from jaxedit.convert.pretrained import open_params
from jaxedit.models.vit import seeded_teacher


def read_frozen(name: str, network: str, model: PretrainedConfig) -> tree.Tree:
    """One network whose settings must be those of the run.

    Args:
      name: see `hub.resolve`.
      network: for example "bsq"; also the name of its settings in `model`.
      model: the run's settings.

    Returns:
      {network: parameters, f32, that are read when they are placed on the devices}.

    Raises:
      ConfigError: weights of another config; says which settings differ.
      OSError: weights that are not there.
    """
    found, params, directory = open_params(name, [network])
    there, here = vars(getattr(found, network)), vars(getattr(model, network))
    differ = [f"{k} is {there[k]} there, {here[k]} here" for k in there if there[k] != here[k]]
    require(not differ, f"{directory} has another {network}: {', '.join(differ)}")
    return tree.cast(params, "float32")


def read_teacher(name: str, student: EditARConfig) -> tuple[ViTConfig, tree.Tree]:
    """Sizes and weights of the teacher of that name or, without one, of a random one.

    Raises:
      ConfigError, OSError: there are no such weights, or they are of something else.
    """
    if not name:
        return seeded_teacher(student.distill_width, student.grid // 2)
    found, loaded, _ = open_params(name, ["vit"])
    return found.vit, tree.cast(loaded["vit"], "float32")
