"""The start and the end of every command: its streams, its arguments and its exit code."""

import argparse
import difflib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

DONE, BAD_INPUT, STOPPED = 0, 2, 130


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command as a process: read its arguments from the shell, end with its exit code."""
    prepare_streams()
    sys.exit(main(sys.argv[1:]))


def prepare_streams() -> None:
    """Let neither a terminal's encoding nor a reader that goes away end a command.

    Characters that the terminal lacks are printed as escapes. What is printed after the reader has
    gone (`--help | head`) is lost.
    """
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def exit_code(command: Callable[[], int], *, stopped: str = "stopped") -> int:
    """Run a command; tell in one line what its user did wrong.

    Args:
      command: parses its arguments, does its work and returns an exit code.
      stopped: what to say after Ctrl-C.

    Returns:
      The command's exit code; 2 after an error of its user, 130 after Ctrl-C.
    """
    try:
        return command()
    except SystemExit as done:  # --help, wrong arguments
        return int(done.code or DONE)
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return STOPPED
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (RuntimeError, AssertionError):
        return tell_missing_platform()


def tell_missing_platform() -> int:
    """While an error is handled that JAX may have raised for want of a device: say so in one line.

    Returns:
      Exit code 2, if JAX cannot start on the platform that JAX_PLATFORMS names.

    Raises:
      The error that is handled, if JAX can.
    """
    jax = sys.modules.get("jax")
    try:
        jax and jax.devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError: CUDA, and no plugin for it
        reason = str(error).partition("(set JAX_PLATFORMS")[0] or "its plugin is not installed"
        print(
            f"error: JAX_PLATFORMS={jax.config.jax_platforms or ''}: {' '.join(reason.split())}; "
            "unset it to run on what is here",
            file=sys.stderr,
        )
        return BAD_INPUT
    raise  # noqa: PLE0704


class Parser(argparse.ArgumentParser):
    """A parser of arguments that says in one line what is wrong with them."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; of an unknown one say which was probably meant."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            known = re.findall(r"--\w+", self.format_help())
            near = difflib.get_close_matches(name, known, 1) if name.startswith("-") else []
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"{unknown[0]}: no such argument{hint}")
        return found

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(BAD_INPUT, f"error: {message} (--help lists all options)\n")


def words(argument: str) -> str:
    """Return text of a command line; letters that the locale lacks are read as UTF-8.

    Raises:
      ArgumentTypeError: the bytes that were typed are no UTF-8 either.
    """
    has_lost = any("\ud800" <= letter <= "\udfff" for letter in argument)
    try:
        return os.fsencode(argument).decode("utf-8") if has_lost else argument
    except UnicodeError as error:
        raise argparse.ArgumentTypeError(f"{argument!r}: expected text in UTF-8") from error


class _Output(io.FileIO):
    """An open file descriptor; writing to it does nothing once its reader has gone."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _lasting(stream: TextIO | None) -> TextIO | None:
    """The same stream through `_Output`; a stream that is no file stays as it is."""
    try:
        number = stream.fileno()
    except (AttributeError, OSError):  # none (`>&-`), or one of a notebook
        return stream
    buffer = io.BufferedWriter(_Output(number, "wb", closefd=False))
    return io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
    )
