"""The run of a command: a picture, a list, an earlier picture again, or a table of the memory."""

import argparse
import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from jaxedit.config import require, require_int8, require_seed, settings_of
from jaxedit.config.methods import PART_OF
from jaxedit.console import DONE
from jaxedit.editor.command import Command, compile_programs
from jaxedit.editor.list_file import Row
from jaxedit.editor.list_run import run_list
from jaxedit.engines.options import shard_config
from jaxedit.progress import follow, progress_bar

if TYPE_CHECKING:
    from PIL import Image

    from jaxedit.editor.edit_mesh import Devices

DIFFERENT = TOO_LARGE = 1  # exit codes
# Arguments that a picture records.
RECORDED = ("seed", "int8", "mesh", "dtype", "t5_dtype", *PART_OF)


def run(command: Command) -> int:
    """Do what the arguments of a command ask for; return the exit code."""
    args = command.args
    require_int8(args.int8 or ())
    require(not (args.batch and args.from_png), "--batch and --from_png: expected only one of them")
    config = shard_config(args)
    is_whole = config.shard is None and not config.is_divided
    require(args.dry_run or not args.devices, "--devices: expected --dry_run with it")
    require(is_whole or args.batch, "--engine, --workers and --shard: expected --batch beside them")
    if args.dry_run:
        return show_memory(command)
    if args.from_png:
        return replay(command)
    if args.batch:
        return run_list(command, config)
    return make_picture(command)


def make_picture(command: Command) -> int:
    """Make the picture that the arguments describe, and write it."""
    row = command.row()
    command.write(row, *_make(command, row, rows_per_device=1))
    return DONE


def replay(command: Command) -> int:
    """Make a picture again from the settings in it, and compare the two.

    Raises:
      ValueError, OSError: the picture has no such settings, its source or the weights have changed,
        or an argument is wrong.
    """
    from jaxedit.editor import provenance

    args = command.args
    names = (*command.recorded, *RECORDED)
    given = ", ".join(name for name in names if getattr(args, name, None) is not None)
    require(not given, f"--from_png takes {given} from the file: expected no such argument")
    earlier = pathlib.Path(args.from_png)
    settings = provenance.read_settings(earlier, command.purpose)
    name = f"{earlier.stem}-again.png"
    output = provenance.require_writable(args.output or name)
    require(
        output.absolute() != earlier.absolute(),
        f"--output {output}: expected another name than the earlier picture's",
    )
    command.recall(settings, earlier)
    weights = settings["weights_sha256"]
    _, result, again = _make(
        command, command.row(), rows_per_device=args.rows_per_device, weights=weights
    )
    output = command.save(name, result.image, again)
    return _compare(result.image, earlier, output, settings, again)


def show_memory(command: Command) -> int:
    """Print the memory that each device would need, for the sampling method and its options.

    Returns:
      The exit code: 0 if everything fits.
    """
    args = command.args
    require(not args.from_png, "--dry_run: expected no --from_png")
    rows = args.rows_per_device
    require(rows > 0, f"--rows_per_device={rows}: expected 1 or more")
    config, options = command.sampling()
    import jax

    from jaxedit.editor import edit_memory, edit_mesh
    from jaxedit.planning.device_memory import fits, table

    settings = settings_of(config, options.pop("method", None), options)
    is_elsewhere = args.devices or args.memory_gb is not None
    is_this_cpu = not is_elsewhere and jax.default_backend() == "cpu"
    dtype = args.dtype or ("float32" if is_this_cpu else "bfloat16")
    plan = command.plan(rows_per_device=rows, dtype=dtype)
    devices = _devices(args)
    text = args.mesh or ("all" if args.batch else "one")
    mesh = edit_mesh.choose(text, config, settings, plan, devices)
    plan, memory = dataclasses.replace(plan, tensor=mesh.tensor), devices.memory
    items = edit_memory.memory_items(config, settings, plan)
    savings = [] if fits(items, memory) else edit_memory.memory_savings(config, settings, plan)
    if devices.count > 1:
        print(f"{args.devices or devices.memory.of}: {devices.count} devices: {mesh}")
    print(table(f"{command.name}, on each device:", items, memory, savings))
    return DONE if fits(items, memory) else TOO_LARGE


def _devices(args: argparse.Namespace) -> "Devices":
    """Return the devices to plan for: of `--devices`, or of this process."""
    from jaxedit.editor import edit_mesh
    from jaxedit.planning import topology
    from jaxedit.planning.device_memory import memory_of_device

    if not args.devices:
        import jax

        device = jax.local_devices()[0]
        count = 1 if device.platform == "cpu" else jax.local_device_count()  # or they are simulated
        return edit_mesh.Devices(count, memory_of_device(device, args.memory_gb))
    pod = topology.pod(args.devices)
    return edit_mesh.Devices(pod.devices, topology.memory_of_pod(pod, args.memory_gb))


def _make(
    command: Command, row: Row, *, rows_per_device: int, weights: str | None = None
) -> tuple[Any, Any, dict[str, Any]]:
    """Make the picture of a row; `weights` is the SHA-256 that the weights must have, or None.

    Returns:
      The picture's source, the result, and all that makes the picture again.
    """
    from jaxedit.editor import provenance

    require_seed(row.seed)
    source = command.read(row)
    _, options = command.sampling()
    model = command.load(rows_per_device=rows_per_device)
    if weights is not None:
        provenance.require_same(f"{model.name}: the weights", model.fingerprint, weights)
    command.check(model, row, source)
    compile_programs(model, options)
    options |= command.input_options()
    with progress_bar("steps") as bar:
        (result,) = command.make(model, [source], [row], progress=follow(bar), **options)
    return source, result, command.settings(model, row, result)


def _compare(
    image: "Image.Image",
    earlier: pathlib.Path,
    output: pathlib.Path,
    settings: dict[str, Any],
    again: dict[str, Any],
) -> int:
    """Print whether the earlier picture and the new `image` are equal; return the exit code.

    Their settings, `settings` and `again`, say on which machines they were made.
    """
    from jaxedit.data.pictures import photo

    if image.tobytes() != photo.read(earlier).tobytes():
        made = f"{settings['backend']}, {settings['versions']}"
        here = f"{again['backend']}, {again['versions']}"
        print(f"{output}: differs from {earlier} (made on {made}; here {here})", file=sys.stderr)
        return DIFFERENT
    print(f"{output}: equal to {earlier} bit for bit")
    return DONE
