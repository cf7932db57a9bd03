"""The edits of a benchmark's samples, each written once and skipped by later runs."""

import hashlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxedit.data.pictures import photo
from jaxedit.editor import provenance
from jaxedit.editor.command import Command, compile_programs
from jaxedit.evaluate.sample import Sample, content
from jaxedit.progress import progress_bar

if TYPE_CHECKING:
    from jaxedit.editor.editor import Editor


def edit_samples(command: Command, samples: Sequence[Sample], folder: pathlib.Path) -> None:
    """Edit the samples that have no edit by the same request in the folder.

    Args:
      command: names the model and the options; every sample is edited with its seed.

    Raises:
      ValueError, OSError: the model cannot be loaded, a source cannot be read, an instruction is
        too long and `strict`, or an edit cannot be written.
    """
    _, options = command.sampling()
    request = request_of(command)
    todo = [sample for sample in samples if not _is_done(edit_path(folder, sample), request)]
    if not todo:
        return
    with progress_bar("edits", len(samples)) as bar:
        bar.update(len(samples) - len(todo))
        editor = command.load(rows_per_device=command.args.rows_per_device, every_device=True)
        compile_programs(editor, options)
        editor.text.prepare([sample.instruction for sample in todo])
        for start in range(0, len(todo), editor.rows):
            _edit(command, editor, todo[start : start + editor.rows], folder, request, options)
            bar.update(min(editor.rows, len(todo) - start))


def request_of(command: Command) -> dict[str, Any]:
    """Return the model and the options of all edits, as each edit records them."""
    _, options = command.sampling()
    request = {
        "model": command.name,
        "seed": command.args.seed,
        **command.placement(),
        **command.input_options(),
        **options,
    }
    if command.args.mask:
        request["masks"] = command.args.mask
    return {name: list(v) if isinstance(v, tuple) else v for name, v in request.items()}


def is_made_by(request: dict[str, Any], path: pathlib.Path) -> bool:
    """Tell whether an edit records that a request made it; its pixels are not read."""
    try:
        return provenance.read_settings(path).get("request") == request
    except (ValueError, OSError):  # damaged, or of another program
        return False


def edit_path(folder: pathlib.Path, sample: Sample) -> pathlib.Path:
    """Return where the edit of a sample is written."""
    return folder / f"{sample.key}.png"


def seconds_of(paths: Iterable[pathlib.Path]) -> list[float]:
    """Return the seconds that each edit took, its share of those made together."""
    return [provenance.read_settings(path)["seconds"] for path in paths]


def settings_of(path: pathlib.Path) -> dict[str, Any]:
    """Return all settings by which an edit was made, except those of its sample alone.

    Raises:
      ValueError, OSError: the edit is damaged or of another program.
    """
    own = (
        "instruction",
        "task",
        "source",
        "source_sha256",
        "mask_convention",
        "request",
        "seconds",
    )
    found = provenance.read_settings(path)
    return {name: value for name, value in found.items() if name not in own}


def _is_done(path: pathlib.Path, request: dict[str, Any]) -> bool:
    try:
        photo.read(path)
    except (ValueError, OSError):  # missing or cut short
        return False
    return is_made_by(request, path)


def _mask_of(sample: Sample) -> np.ndarray | None:
    """Return the mask of a sample; None if it has none, or an empty one."""
    return sample.mask if sample.mask is not None and sample.mask.any() else None


def _edit(
    command: Command,
    editor: "Editor",
    samples: Sequence[Sample],
    folder: pathlib.Path,
    request: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Edit samples that go to the devices together; all have the same task."""
    sources = [content(sample.source) for sample in samples]
    task = samples[0].task
    results = editor.edit_batch(
        [photo.decode(data, s.key) for data, s in zip(sources, samples, strict=True)],
        [sample.instruction for sample in samples],
        seeds=[command.args.seed] * len(samples),
        masks=[_mask_of(sample) if command.args.mask else None for sample in samples],
        task=None if task == "edit" else task,
        **command.input_options(),
        **options,
    )
    for sample, data, result in zip(samples, sources, results, strict=True):
        settings = result.settings | {
            "source": sample.key,
            "source_sha256": hashlib.sha256(data).hexdigest(),
            "weights_sha256": editor.fingerprint,
            **({"masks": command.args.mask} if command.args.mask else {}),
            "request": request,
            "seconds": result.diagnostics["seconds"] / len(samples),
        }
        path = edit_path(folder, sample)
        path.parent.mkdir(parents=True, exist_ok=True)
        provenance.save_png(path, result.image, settings)
