"""`--dry_run`: the table of what would be in memory, from the settings alone."""

import argparse
from typing import Any

from jaxedit.config import PretrainedConfig, require, settings_of
from jaxedit.console import DONE

TOO_LARGE = 1


def check(args: argparse.Namespace) -> None:
    """Raise ConfigError for arguments that do not go with `--dry_run`."""
    require(not args.from_png, "--dry_run: expected no --from_png")
    rows = args.rows_per_device
    require(rows > 0, f"--rows_per_device={rows}: expected 1 or more")


def show(
    args: argparse.Namespace, name: str, config: PretrainedConfig, options: dict[str, Any]
) -> int:
    """Print the table of a model for the sampling method and settings in `options`.

    Returns:
      The exit code: 0 if everything fits.
    """
    import jax

    from jaxedit.editor import edit_memory
    from jaxedit.planning.device_memory import fits, memory_of_device, table

    settings = settings_of(config, options.pop("method", None), options)
    is_here = args.memory_gb is None and jax.default_backend() == "cpu"
    plan = edit_memory.Plan(
        dtype=args.dtype or ("float32" if is_here else "bfloat16"),
        t5_dtype=args.t5_dtype,
        rows=args.rows_per_device,
        text="host" if args.text_on_host else "file" if args.text_features else "device",
        int8=args.int8 or (),
    )
    room = memory_of_device(jax.local_devices()[0], args.memory_gb)
    found = edit_memory.memory_items(config, settings, plan)
    changes = [] if fits(found, room) else edit_memory.memory_savings(config, settings, plan)
    print(table(f"{name}, on each device:", found, room, changes))
    return DONE if fits(found, room) else TOO_LARGE
