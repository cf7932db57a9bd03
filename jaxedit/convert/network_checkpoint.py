"""A part of a model to convert: recognised, but not read yet."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxedit.checkpoints import hub, pretrained
from jaxedit.checkpoints.lazy_tensor import LazyTensor, Shape
from jaxedit.config import OFFICIAL, PretrainedConfig, WeightSource, family_of, require
from jaxedit.config.families import BY_TYPE
from jaxedit.convert.detect import KINDS, detect, keymap_module, prefix_of
from jaxedit.convert.keymaps.keymap import assemble
from jaxedit.convert.state_dict import NoAverage, open_state

# kinds that make a model together with other networks
TRANSFORMERS = tuple(name for name, family in BY_TYPE.items() if family.purpose)


class NetworkCheckpoint(NamedTuple):
    """The networks of one kind, from one file or directory.

    Attributes:
      kind: see `detect`.
      config: of the network, as far as its file tells it.
      arrays: by PyTorch key or, in a pretrained directory, by parameter path.
      where: the file or directory.
      model: the whole config of a pretrained directory; else None.
      is_average: whether the arrays are the moving average of a training run's weights.
    """

    kind: str
    config: Any
    arrays: dict[str, LazyTensor]
    where: hub.Directory
    model: PretrainedConfig | None = None
    is_average: bool = False

    @property
    def files(self) -> list[hub.Directory]:
        """Return the files that hold the arrays."""
        return sorted({array.file for array in self.arrays.values()})

    @property
    def source(self) -> WeightSource:
        """Return the origin, for the model card; official files are recognised by their names."""
        name = self.where.name
        for release in OFFICIAL.values():
            for source in release.sources:
                official = pathlib.PurePosixPath(source.file or source.repo).name
                if source.kind == self.kind and official == name:
                    return source
        return WeightSource(self.kind, "", name, "as its origin says", "a file of its owner")

    def parameters(self, shapes: Mapping[str, Shape]) -> dict[str, LazyTensor]:
        """Return the parameters by path, given the shapes of all parameters of the model.

        Raises:
          ValueError: a key is missing, unexpected or of another shape; lists all.
        """
        if self.model:
            return self.arrays
        prefix, networks = KINDS[self.kind].prefix, KINDS[self.kind].networks
        expected = {
            path.removeprefix(prefix): shape
            for path, shape in shapes.items()
            if path.split("/")[0] in networks
        }
        try:
            joined = assemble(keymap_module(self.kind).KEYMAP, self.arrays, expected)
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from error
        return {prefix + path: array for path, array in joined.items()}


def open_networks(
    path: hub.Directory, *, kind: str = "auto", ema: bool = False
) -> list[NetworkCheckpoint]:
    """Open a part of a release, or all parts of a pretrained directory.

    Args:
      path: file or directory, local or gs://.
      kind: expected kind of network; "auto" accepts all kinds.
      ema: take the moving average of a training run's weights, where there is one.

    Raises:
      ConfigError: a network of another kind is there.
      ValueError: no known network, or a damaged file.
      OSError: it cannot be read.
    """
    known = ("auto", *KINDS)
    require(kind in known, f"--kind={kind}: expected one of {', '.join(known)}")
    is_ours = pretrained.is_pretrained(path)
    parts = _parts_of_ours(path) if is_ours else [_part_of_release(path, kind, ema=ema)]
    for part in parts:
        require(
            kind in ("auto", part.kind), f"--kind={kind}: {path} holds {part.kind} by its shapes"
        )
    return parts


def join_files(parts: Iterable[NetworkCheckpoint]) -> list[NetworkCheckpoint]:
    """Join the files of each network: of one kind and config, and without a common key.

    The weights of LPIPS are released apart from those of its backbone.
    """
    networks: list[NetworkCheckpoint] = []
    for part in parts:
        for n, other in enumerate(networks):
            is_same = (part.kind, part.config) == (other.kind, other.config)
            if is_same and not part.arrays.keys() & other.arrays.keys():
                networks[n] = other._replace(arrays=other.arrays | part.arrays)
                break
        else:
            networks.append(part)
    return networks


def _part_of_release(path: hub.Directory, kind: str, *, ema: bool) -> NetworkCheckpoint:
    """Open the network of a kind in a release; without an average, `ema` takes the weights."""
    try:
        state = open_state(path, ema=ema)
    except NoAverage:
        state = open_state(path)
    try:
        prefix = prefix_of(state.arrays, kind)
        arrays = {
            key.removeprefix(prefix): array
            for key, array in state.arrays.items()
            if key.startswith(prefix)
        }
        found, config = detect({key: a.shape for key, a in arrays.items()}, state.settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return NetworkCheckpoint(found, config, arrays, path, is_average=state.is_average)


def _parts_of_ours(path: hub.Directory) -> list[NetworkCheckpoint]:
    """Open the networks of a pretrained directory, by kind."""
    config, stored = pretrained.open_pretrained(path)
    parts = []
    for kind in family_of(config).parts:
        if kind not in KINDS:  # settings of sampling
            continue
        arrays = {p: a for p, a in stored.items() if p.split("/")[0] in KINDS[kind].networks}
        if arrays:
            parts.append(NetworkCheckpoint(kind, getattr(config, kind), arrays, path, config))
    return parts
