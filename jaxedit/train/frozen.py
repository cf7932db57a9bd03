"""Networks that a run needs and does not train, read from pretrained directories."""

from jaxedit import tree
from jaxedit.config import PretrainedConfig, require
from jaxedit.convert.pretrained import open_params


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
