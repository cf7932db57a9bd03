"""The model that the arguments of a command ask for, and what is said meanwhile."""

import argparse
import pathlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

from jaxedit.config import (
    OFFICIAL,
    PretrainedConfig,
    official,
    require,
    require_purpose,
    settings_of,
)
from jaxedit.config.families import bundled
from jaxedit.config.methods import PART_OF

if TYPE_CHECKING:
    from jaxedit.editor.editor import Editor
    from jaxedit.editor.generator import Generator
    from jaxedit.editor.loaded_model import LoadedModel

Model = TypeVar("Model", bound="LoadedModel")


def placement(args: argparse.Namespace) -> dict[str, Any]:
    """How the weights are kept."""
    return {
        "dtype": args.dtype,
        "t5_dtype": args.t5_dtype,
        "int8": args.int8 or (),
        "text_on_host": args.text_on_host,
        "text_features": args.text_features,
    }


def shape(args: argparse.Namespace) -> dict[str, Any]:
    """Return how pictures and instructions are read, as keyword arguments of `edit`."""
    return {"fit": args.fit, "keep_size": bool(args.keep_size), "strict": args.strict}


def checked_edit(args: argparse.Namespace) -> tuple[str, PretrainedConfig, dict[str, Any]]:
    """The editor's name and settings and the given options, checked before weights are read."""
    name = args.model or bundled(args.method, has_task=bool(args.task))
    config, options = checked(name, args, "edit")
    require(
        args.diagnostics is None or args.method == "editar+erec",
        f"--diagnostics: expected --method=editar+erec, found {args.method!r}",
    )
    return name, config, {"method": args.method, **options}


def checked(
    name: str, args: argparse.Namespace, purpose: str
) -> tuple[PretrainedConfig, dict[str, Any]]:
    """The settings of a model that is for a purpose, and the given options, checked."""
    from jaxedit.checkpoints.pretrained import read_config
    from jaxedit.convert.ensure_converted import ensure_converted

    is_known = args.dry_run and name in OFFICIAL
    config = official(name).config if is_known else read_config(ensure_converted(name))
    require_purpose(config, purpose)
    options = {key: getattr(args, key, None) for key in PART_OF}
    given = {key: value for key, value in options.items() if value is not None}
    settings_of(config, getattr(args, "method", None), given)
    return config, given


def load_editor(name: str, **options: Any) -> "Editor":
    """The editor, ready to run; options as of `load`."""
    from jaxedit.editor.editor import Editor

    return load(Editor, name, **options)


def load_generator(name: str, **options: Any) -> "Generator":
    """The generator, ready to run; options as of `load`."""
    from jaxedit.editor.generator import Generator

    return load(Generator, name, **options)


def load(kind: type[Model], name: str, *, every_device: bool = False, **options: Any) -> Model:
    """An `Editor` or a `Generator`, ready to run."""
    import jax

    from jaxedit.config import MeshConfig
    from jaxedit.sharding.mesh import make_mesh

    several = every_device and jax.local_device_count() > 1
    mesh = make_mesh(MeshConfig(), jax.local_devices()) if several else None
    start = time.perf_counter()
    model = kind.from_pretrained(name, mesh=mesh, **options)
    device = jax.devices()[0].device_kind
    print(f"{model.name}: loaded in {time.perf_counter() - start:.1f} s on {device}", flush=True)
    return model


def compile(model: "LoadedModel", options: dict[str, Any]) -> None:
    """Compile, so that the time of the picture itself can be told apart."""
    seconds = model.compile(**options)
    from jaxedit import compile_cache

    print(f"compiled in {seconds:.1f} s ({compile_cache.where()})", flush=True)


def origin(editor: "Editor", source: str) -> dict[str, Any]:
    """Return which files an edit was made from, without saying where they lie."""
    from jaxedit.editor import provenance

    return {
        "source": pathlib.Path(source).name,
        "source_sha256": provenance.sha256(source),
        "weights_sha256": editor.fingerprint,
    }
