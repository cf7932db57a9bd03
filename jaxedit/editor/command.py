"""The base of the commands that make pictures: their arguments, and the model that they ask for.

Nothing heavy is imported before a command has checked its arguments.
"""

import abc
import argparse
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_type_hints

from jaxedit import __version__
from jaxedit.config import (
    OFFICIAL,
    PretrainedConfig,
    methods_of,
    official,
    require,
    require_purpose,
    settings_of,
)
from jaxedit.config.comments import comments_of
from jaxedit.config.family import load
from jaxedit.config.fields import choices_of
from jaxedit.config.methods import PART_OF, options_by_method
from jaxedit.config.precision import DTYPES, T5_DTYPES
from jaxedit.console import Parser
from jaxedit.editor import list_file
from jaxedit.editor.list_file import Row
from jaxedit.engines.options import add_options

if TYPE_CHECKING:
    from PIL import Image

    from jaxedit.editor.edit_memory import Plan
    from jaxedit.editor.loaded_model import LoadedModel

MODEL = "bundled or official name, folder, gs://, org/name of the Hub"


class Command(abc.ABC):
    """A command with its arguments; subclasses know what a picture is made from.

    Attributes:
      purpose: of the models that the command runs; also the verb of its help.
      model_class: `Editor` or `Generator`, as "module:class".
      done: what happened to a picture, in messages and as the picture's name: edited.
      folder: where the pictures of a list are written by default.
      keys: the keys that each row of a list must have, with their types; the text's key is last.
      recorded: arguments of this command that a picture records, besides those of all commands.
      single: arguments that `--batch` excludes.
    """

    purpose: ClassVar[Literal["edit", "draw"]]
    model_class: ClassVar[str]
    done: ClassVar[str]
    folder: ClassVar[str]
    keys: ClassVar[Mapping[str, Any]]
    recorded: ClassVar[tuple[str, ...]]
    single: ClassVar[tuple[str, ...]]

    def __init__(self, args: argparse.Namespace) -> None:
        """Take the parsed arguments."""
        self.args = args

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Return the model's name."""

    @abc.abstractmethod
    def row(self) -> Row:
        """Return the picture to make without `--batch`, its arguments checked."""

    @abc.abstractmethod
    def make(
        self, model: Any, inputs: Sequence[Any], rows: Sequence[Row], **options: Any
    ) -> Sequence[Any]:
        """Return the `EditResult` or `GenerateResult` of rows that are made together."""

    def read(self, row: Row) -> Any:
        """Return the input of a row that `make` takes.

        Raises:
          ValueError, OSError: the input cannot be read.
        """
        return row.text

    def check(self, model: Any, row: Row, source: Any) -> None:
        """Raise ConfigError unless the model can make a row; `source` is what `read` returned."""
        task = getattr(self.args, "task", None)
        model.check_text(row.text, task, strict=self.args.strict)

    def input_options(self) -> dict[str, Any]:
        """Return how pictures and texts are read: keyword arguments of `make`."""
        return {"strict": self.args.strict}

    def digests(self, row: Row) -> dict[str, str]:
        """Return the SHA-256 of each file that a row is made from, by the name of its setting."""
        return {}

    def settings(self, model: "LoadedModel", row: Row, result: Any) -> dict[str, Any]:
        """Return all that makes a picture again."""
        return result.settings | self.digests(row) | {"weights_sha256": model.fingerprint}

    def rows(self, folder: pathlib.Path) -> list[Row]:
        """Return the pictures to make with `--batch`, below an output folder.

        Raises:
          ValueError, OSError: the list cannot be read, or an argument excludes it.
        """
        args = self.args
        for name in self.single:
            value = getattr(args, name)
            require(value is None, f"--batch: expected no {name} beside it, found {value!r}")
        return list_file.read(pathlib.Path(args.batch), args.seed or 0, folder, keys=self.keys)

    def write(self, row: Row, source: Any, result: Any, settings: dict[str, Any]) -> None:
        """Write the picture of a row, made without `--batch`, and print where."""
        output = self.save(f"{self.done}.png", result.image, settings)
        print(f"{output}: {self.done} in {result.diagnostics['seconds']:.2f} s")

    def save(self, default: str, image: "Image.Image", settings: dict[str, Any]) -> pathlib.Path:
        """Write a picture to `--output`, or to a free name like `default`; return its path."""
        from jaxedit.editor import provenance

        if not self.args.output:
            return provenance.save_new_png(default, image, settings)
        provenance.save_png(self.args.output, image, settings)
        return pathlib.Path(self.args.output)

    def describe(self, row: Row) -> dict[str, str]:
        """Return the input of a row, as it stands in the list and in the manifest."""
        return {key: row.image if key == "image" else row.text for key in self.keys}

    def placement(self) -> dict[str, Any]:
        """Return how the weights are kept: keyword arguments of `from_pretrained`."""
        return {
            "dtype": self.args.dtype,
            "t5_dtype": self.args.t5_dtype,
            "int8": self.args.int8 or (),
            "text_on_host": self.args.text_on_host,
            "text_features": self.args.text_features,
        }

    def sampling(self) -> tuple[PretrainedConfig, dict[str, Any]]:
        """Return the model's settings, and the given method and options, checked.

        Raises:
          ConfigError: they do not fit each other.
          OSError: there is no such model.
        """
        from jaxedit.checkpoints.pretrained import read_config
        from jaxedit.convert.ensure_converted import ensure_converted

        if self.args.dry_run and self.name in OFFICIAL:  # needs no weights
            config = official(self.name).config
        else:
            config = read_config(ensure_converted(self.name))
        require_purpose(config, self.purpose)
        given = {name: getattr(self.args, name, None) for name in PART_OF}
        options = {name: value for name, value in given.items() if value is not None}
        settings_of(config, getattr(self.args, "method", None), options)
        if "method" in self.args:
            options["method"] = self.args.method
        return config, options

    def plan(self, **changes: Any) -> "Plan":
        """Return how the model will be run, for `edit_memory`."""
        from jaxedit.editor.edit_memory import Plan

        return Plan.of(**self.placement() | changes)

    def load(self, *, rows_per_device: int, every_device: bool = False) -> "LoadedModel":
        """Load the model on as few devices as hold it, or on all, and print how long it took."""
        import jax

        from jaxedit.editor import edit_mesh

        config, options = self.sampling()
        settings = settings_of(config, options.pop("method", None), options)
        text = self.args.mesh or ("all" if every_device else "one")
        plan = self.plan(rows_per_device=rows_per_device)
        mesh = edit_mesh.mesh_of(text, config, settings, plan)
        start = time.perf_counter()
        model = load(self.model_class).from_pretrained(
            self.name, mesh=mesh, rows_per_device=rows_per_device, **self.placement()
        )
        seconds, device = time.perf_counter() - start, jax.devices()[0].device_kind
        print(f"{model.name}: loaded in {seconds:.1f} s on {device}", flush=True)
        return model

    def recall(self, settings: dict[str, Any], earlier: pathlib.Path) -> None:
        """Replace the arguments by the settings of an earlier picture."""
        args = self.args
        args.model = args.model or settings["model"]
        args.dtype = settings["dtype"]
        args.t5_dtype = settings.get("t5_dtype", args.dtype)  # older pictures record only one dtype
        args.text_on_host = settings.get("text_on_host", args.text_on_host)
        args.int8 = settings.get("int8")
        args.mesh = f"tensor={settings.get('tensor', 1)}"
        for name in ("rows_per_device", "seed", "method"):
            setattr(args, name, settings[name])
        for name in PART_OF:
            setattr(args, name, settings.get(name))


def compile_programs(model: "LoadedModel", options: dict[str, Any]) -> None:
    """Compile, so that a picture's own time can be measured; say so, and how long it took."""
    from jaxedit import compile_cache

    print(compile_cache.preparing(model.programs(**options)), flush=True)
    seconds = model.compile(**options)
    print(f"programs ready in {seconds:.1f} s", flush=True)


def new_parser(program: str, positional: str, description: str) -> argparse.ArgumentParser:
    """Return a parser without arguments; `positional` is a part of its usage line."""
    return Parser(
        prog=program,
        usage=f"{program} [options] {positional}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_shared(parser: argparse.ArgumentParser, command: type[Command]) -> None:
    """Add the arguments that all commands have, and the options of their sampling methods."""
    add, verb, done, text = parser.add_argument, command.purpose, command.done, [*command.keys][-1]
    add("--seed", type=int, help="0 to 2**31 - 1 (default 0); row i of a list has seed + i")
    add(
        "--output",
        help=f"file (default {done}.png or, if there is a file, {done}-2.png, ...), or folder of a "
        f"list (default {command.folder})",
    )
    add("--strict", action="store_true", help=f"refuse {text}s too long to be read in full")
    add(
        "--batch",
        metavar="LIST",
        help=f"{verb} every row of a JSONL list that is not done yet; paths are relative to it"
        + ("; or, with an instruction, every picture in a folder" if verb == "edit" else ""),
    )
    add("--overwrite", action="store_true", help=f"{verb} all rows of a list again")
    add_options(parser)
    add("--from_png", metavar="PNG", help="make an earlier picture again, bit for bit")
    add("--dry_run", action="store_true", help=f"print how much memory it takes; {verb} nothing")
    add("--memory_gb", type=float, help="for --dry_run: memory of a device; default: of this one")
    add("--devices", metavar="NAME", help="for --dry_run: other devices, e.g. v5e-4 or 2xL4")
    add_placement(parser, command)
    add("--version", action="version", version=f"jaxedit {__version__}")
    add_sampling(parser, command)


def add_placement(parser: argparse.ArgumentParser, command: type[Command]) -> None:
    """Add the arguments that say how a model is kept on the devices, and its rows."""
    verb = command.purpose
    parser.add_argument(
        "--rows_per_device", type=int, default=1, help=f"pictures of a list to {verb} at once"
    )
    add_weights(parser, command)


def add_weights(parser: argparse.ArgumentParser, command: type[Command]) -> None:
    """Add the arguments that say how the weights are kept; see `Command.placement`."""
    add, text = parser.add_argument, [*command.keys][-1]
    add(
        "--mesh",
        metavar="SIZES",
        help="devices, such as data=2,tensor=4: 2 groups of 4 that share the weights (default: as "
        "few in a group as hold the weights; of a list on all devices)",
    )
    add("--dtype", choices=DTYPES, help="default float32 on a CPU, bfloat16 elsewhere")
    add(
        "--t5_dtype",
        choices=T5_DTYPES,
        help="of the text encoder (default float16, or float32 with --dtype=float32)",
    )
    add("--text_on_host", action="store_true", help="keep the text encoder on the host's CPU")
    add(
        "--text_features",
        metavar="FILE",
        help=f"read the features of {text}s from a file; add those that are missing",
    )
    add(
        "--int8",
        type=lambda names: tuple(names.split(",")),
        metavar="NETWORKS",
        help="keep the large kernels of t5, transformer or t5,transformer as 8-bit integers",
    )


def add_sampling(parser: argparse.ArgumentParser, command: type[Command]) -> None:
    """Add the options of the command's sampling methods."""
    methods = methods_of(command.purpose)
    for takers, names in options_by_method(methods).items():
        title = f"options of {' and '.join(takers)}" if len(takers) < len(methods) else "sampling"
        group = parser.add_argument_group(title, "default: what is stored with the weights")
        for name in names:
            add_option(group, name, PART_OF[name])


def add_option(group: Any, name: str, part: type) -> argparse.Action:
    """Add the option of a field of a dataclass; type and help are its annotation and comment."""
    hint, comment = get_type_hints(part)[name], comments_of(part)[name].replace("%", "%%")
    if hint is bool:
        kind = {"action": argparse.BooleanOptionalAction}
    elif choices := choices_of(hint):
        kind = {"choices": choices}
    elif hint in (int, float, str):
        kind = {"type": hint}
    else:
        kind = {"type": _numbers, "metavar": "NUMBER[,...]"}
    return group.add_argument(f"--{name}", help=comment, **kind)


def _numbers(text: str) -> float | tuple[float, ...]:
    """Return a number, or a tuple of several that commas separate."""
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError as error:
        message = f"{text!r}: expected a number, or one per scale with commas between"
        raise argparse.ArgumentTypeError(message) from error
    return numbers if len(numbers) > 1 else numbers[0]
