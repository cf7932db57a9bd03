"""One part of a model that is being converted: recognised, but not read yet."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxedit.checkpoints import hub, pretrained
from jaxedit.checkpoints.lazy_tensor import ArrayLike
from jaxedit.config import OFFICIAL, PretrainedConfig, WeightSource, family_of, require
from jaxedit.config.families import BY_TYPE
from jaxedit.convert.detect import KINDS, detect, prefix_of
from jaxedit.convert.keymaps.keymap import assemble
from jaxedit.convert.state_dict import NoAverage, open_state

# kinds of which the other networks of a model are parts
TRANSFORMERS = tuple(name for name, family in BY_TYPE.items() if family.purpose)


class NetworkCheckpoint(NamedTuple):
    """The networks of one kind, from one file or directory.

    Attributes:
      kind: see `detect`.
      config: the settings of the network, as far as its shapes tell them.
      arrays: by PyTorch key or, of a model of ours, by parameter path.
      where: the file or directory.
      model: all settings, of a model of ours; else None.
      is_average: whether the numbers are the moving average of a training run's weights.
    """

    kind: str
    config: Any
    arrays: dict[str, ArrayLike]
    where: hub.Directory
    model: PretrainedConfig | None = None
    is_average: bool = False

    @property
    def files(self) -> list[hub.Directory]:
        """The files in which the numbers lie."""
        return sorted({array.file for array in self.arrays.values()})

    @property
    def source(self) -> WeightSource:
        """Where it comes from, for the model card; official files are known by their names."""
        for release in OFFICIAL.values():
            for source in release.sources:
                if source.kind == self.kind and self.where.name == _name_of(source):
                    return source
        return WeightSource(
            self.kind, "", self.where.name, "as its origin says", "a file of its owner"
        )

    def parameters(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, ArrayLike]:
        """The parameters by path, the first component of which is the network.

        Args:
          shapes: of all parameters of the model, by path.

        Raises:
          ValueError: a key is missing, unexpected or of another shape; lists all of them.
        """
        if self.model:
            return self.arrays
        keymap, prefix = KINDS[self.kind].keymap, KINDS[self.kind].prefix
        names = networks_of(self.kind)
        expected = {
            path.removeprefix(prefix): shape
            for path, shape in shapes.items()
            if path.split("/")[0] in names
        }
        try:
            joined = assemble(keymap, self.arrays, expected)
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from error
        return {prefix + path: array for path, array in joined.items()}


def open_networks(
    path: hub.Directory, *, kind: str = "auto", ema: bool = False
) -> list[NetworkCheckpoint]:
    """What a file or directory holds: one part of a release, or all of a model of ours.

    Args:
      path: local or gs://.
      kind: what is expected there; "auto" takes whatever it is.
      ema: take the moving average of a training run's weights, where there is one.

    Raises:
      ConfigError: something else than `kind` is there.
      ValueError: no known network, or a damaged file.
      OSError: it cannot be read.
    """
    known = ("auto", *KINDS)
    require(kind in known, f"--kind={kind}: expected one of {', '.join(known)}")
    if pretrained.is_pretrained(path):
        parts = _parts_of_ours(path)
    else:
        parts = [_part_of_release(path, kind, ema=ema)]
    for part in parts:
        require(
            kind in ("auto", part.kind), f"--kind={kind}: {path} holds {part.kind} by its shapes"
        )
    return parts


def networks_of(kind: str) -> tuple[str, ...]:
    """The networks, by their names in parameter paths, that a file of a kind holds."""
    return BY_TYPE[kind].weights.networks


def _part_of_release(path: hub.Directory, kind: str, *, ema: bool) -> NetworkCheckpoint:
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
        found = detect({key: a.shape for key, a in arrays.items()}, state.settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return NetworkCheckpoint(found.kind, found.settings, arrays, path, is_average=state.is_average)


def _parts_of_ours(path: hub.Directory) -> list[NetworkCheckpoint]:
    config, stored = pretrained.open_pretrained(path)
    parts = []
    for kind in family_of(config).parts:
        if kind not in BY_TYPE:  # settings of sampling
            continue
        names = networks_of(kind)
        arrays = {p: a for p, a in stored.items() if p.split("/")[0] in names}
        if arrays:
            parts.append(NetworkCheckpoint(kind, getattr(config, kind), arrays, path, config))
    return parts


def _name_of(source: WeightSource) -> str:
    return pathlib.PurePosixPath(source.file or source.repo).name
