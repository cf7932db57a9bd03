"""The editor that the arguments of `python -m jaxedit` ask for, and what is said meanwhile."""

import argparse
import pathlib
import time
from typing import TYPE_CHECKING, Any

from jaxedit.config import OFFICIAL, PretrainedConfig, official, require, settings_of
from jaxedit.config.methods import PART_OF

if TYPE_CHECKING:
    from jaxedit.editor.editor import Editor


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


def checked(args: argparse.Namespace) -> tuple[str, PretrainedConfig, dict[str, Any]]:
    """The model's name and settings and the given options, checked before weights are read."""
    from jaxedit.checkpoints.pretrained import read_config
    from jaxedit.convert.ensure_converted import ensure_converted

    is_editar = args.task or (args.method or "").startswith("editar")
    name = args.model or ("toy-editar" if is_editar else "toy-varedit")
    is_known = args.dry_run and name in OFFICIAL
    config = official(name).config if is_known else read_config(ensure_converted(name))
    options = {key: getattr(args, key) for key in PART_OF}
    given = {key: value for key, value in options.items() if value is not None}
    settings_of(config, args.method, given)
    require(
        args.diagnostics is None or args.method == "editar+erec",
        f"--diagnostics: expected --method=editar+erec, found {args.method!r}",
    )
    return name, config, {"method": args.method, **given}


def load(name: str, *, every_device: bool = False, **options: Any) -> "Editor":
    """The editor, ready to run."""
    import jax

    from jaxedit.config import MeshConfig
    from jaxedit.editor.editor import Editor
    from jaxedit.sharding.mesh import make_mesh

    several = every_device and jax.local_device_count() > 1
    mesh = make_mesh(MeshConfig(), jax.local_devices()) if several else None
    start = time.perf_counter()
    editor = Editor.from_pretrained(name, mesh=mesh, **options)
    device = jax.devices()[0].device_kind
    print(f"{editor.name}: loaded in {time.perf_counter() - start:.1f} s on {device}", flush=True)
    return editor


def compile(editor: "Editor", options: dict[str, Any]) -> None:
    """Compile, so that the time of the edit itself can be told apart."""
    seconds = editor.compile(**options)
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
