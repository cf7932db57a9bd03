"""The models that a server offers: their settings from the start, their weights when asked for."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax

from jaxedit.checkpoints.pretrained import read_config
from jaxedit.config import PretrainedConfig, require, require_purpose, settings_of
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.editor import edit_mesh
from jaxedit.editor.edit_memory import Plan
from jaxedit.editor.editor import Editor
from jaxedit.host_memory import return_free_memory

log = logging.getLogger(__name__)

Made = TypeVar("Made")


class UnknownModel(ValueError):
    """A client asks for a model that this server does not offer."""


class ServedModels:
    """Models by the name that clients use, at most `max_loaded` of them in memory.

    Only the thread that edits may call `editor` and `with_memory`.
    """

    def __init__(
        self, names: Sequence[str], *, max_loaded: int, load: Callable[[str], Editor]
    ) -> None:
        """Read the models' settings; official weights are fetched and converted.

        Args:
          names: bundled or official names, folders, gs:// paths, names of the Hub. Clients call a
            folder by its last part, so that no path of this machine is told.
          max_loaded: 0: all that fit in memory.
          load: loads a model by its name in `names`.

        Raises:
          ValueError, OSError: there is no such model, or it does not edit; one line.
        """
        self._sources = {_public_name(name): name for name in names}
        require(
            len(self._sources) == len(names), f"--model={','.join(names)}: expected different names"
        )
        self.configs = {name: _config_of(source) for name, source in self._sources.items()}
        self._max_loaded, self._load = max_loaded or len(names), load
        self._editors: dict[str, Editor] = {}  # the one used last comes last

    @property
    def default(self) -> str:
        """Return the first model."""
        return next(iter(self._sources))

    @property
    def loaded(self) -> list[str]:
        """Return the models in memory."""
        return list(self._editors)

    def config(self, name: str) -> PretrainedConfig:
        """Return the settings of a model.

        Raises:
          UnknownModel: it is not offered.
        """
        if name not in self.configs:
            known = ", ".join(self.configs)
            raise UnknownModel(f"model={name!r}: expected one of {known}")
        return self.configs[name]

    def editor(self, name: str) -> Editor:
        """Return a model, loaded; idle models make room for it."""
        editor = self._editors.pop(name, None)
        if editor is None:
            while len(self._editors) >= self._max_loaded:
                self._unload_idle()
            start = time.perf_counter()
            editor = self.with_memory(lambda: self._load(self._sources[name]))
            log.info("%s: loaded in %.1f s", name, time.perf_counter() - start)
        self._editors[name] = editor
        return editor

    def with_memory(self, make: Callable[[], Made], *, keep: str = "") -> Made:
        """Return what `make` returns; if the devices' memory is full, unload idle models and retry.

        Args:
          keep: the model that `make` uses.

        Raises:
          RuntimeError: the memory does not suffice without any idle model, or another error.
        """
        while True:
            try:
                return make()
            except RuntimeError as error:
                idle = [name for name in self._editors if name != keep]
                if "RESOURCE_EXHAUSTED" not in str(error) or not idle:
                    raise
            self._unload_idle()  # the error, which may hold arrays, is gone

    def _unload_idle(self) -> None:
        """Unload the model that was not used for longest."""
        name = next(iter(self._editors))
        del self._editors[name]
        return_free_memory()
        log.info("%s: unloaded", name)


def editor_loader(max_batch: int, placement: Mapping[str, Any]) -> Callable[[str], Editor]:
    """Return a function that loads an `Editor` onto all devices of this process.

    Args:
      max_batch: pictures that it makes at once; rounded up to a multiple of the groups of devices.
      placement: see `Command.placement`; and perhaps "mesh", see `edit_mesh.mesh_of`.
    """
    placement = {"mesh": "all", **placement}
    sizes = placement.pop("mesh")

    def load(name: str) -> Editor:
        config = read_config(ensure_converted(name))
        plan = Plan.of(rows_per_device=-(-max_batch // jax.local_device_count()), **placement)
        mesh = edit_mesh.mesh_of(sizes, config, settings_of(config, None, {}), plan)
        groups = 1 if mesh is None else mesh.shape["data"]
        return Editor.from_pretrained(
            name, mesh=mesh, rows_per_device=-(-max_batch // groups), **placement
        )

    return load


def _public_name(name: str) -> str:
    """Return the name that clients use for a model."""
    is_path = os.path.isdir(name) or "://" in name
    return os.path.basename(name.rstrip("/")) if is_path else name


def _config_of(name: str) -> PretrainedConfig:
    config = read_config(ensure_converted(name))
    require_purpose(config, "edit")
    return config
