"""The common parts of all commands: prepared streams, an argument parser, and exit codes."""

import argparse
import difflib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

DONE, BAD_INPUT, STOPPED = 0, 2, 130


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command as a process: pass the shell's arguments, and exit with the returned code."""
    prepare_streams()
    sys.exit(main(sys.argv[1:]))


def prepare_streams() -> None:
    """Keep a command running whatever the terminal's encoding and whoever reads its output.

    Characters that the terminal cannot show are printed as escapes. Output is discarded once its
    reader has gone (as in `--help | head`).
    """
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def exit_code(command: Callable[[], int], *, stopped: str = "stopped") -> int:
    """Run a command and report the user's mistakes in one line instead of a traceback.

    Args:
      command: parses its arguments, does its work and returns an exit code.
      stopped: message after Ctrl-C.

    Returns:
      The command's exit code; 2 after a user's mistake, 130 after Ctrl-C.
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
    """Report in one line that JAX cannot start; call it while an error is being handled.

    Returns:
      Exit code 2, if JAX cannot start on the platform that JAX_PLATFORMS names.

    Raises:
      The error being handled, if JAX can start.
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
    """An argument parser that reports wrong arguments in one line."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; suggest the nearest name for an unknown argument."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            known = re.findall(r"--\w+", self.format_help())
            near = difflib.get_close_matches(name, known, 1) if name.startswith("-") else []
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"{unknown[0]}: no such argument{hint}")
        argv = sys.argv[1:] if args is None else args
        given = {argument.partition("=")[0] for argument in argv}
        for name, value in vars(found).items():
            if value == "" and f"--{name}" in given:  # perhaps a shell's variable that is not set
                self.error(f"--{name}={value!r}: expected a value")
        return found

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(BAD_INPUT, f"error: {message} (--help lists all options)\n")


def words(argument: str) -> str:
    """Return a text argument; letters that the locale cannot represent are read as UTF-8.

    Raises:
      ArgumentTypeError: the bytes that were typed are not UTF-8 either.
    """
    has_lost = any("\ud800" <= letter <= "\udfff" for letter in argument)
    try:
        return os.fsencode(argument).decode("utf-8") if has_lost else argument
    except UnicodeError as error:
        raise argparse.ArgumentTypeError(f"{argument!r}: expected text in UTF-8") from error


class _Output(io.FileIO):
    """An open file descriptor; writing does nothing once the reader has gone."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _lasting(stream: io.TextIOBase | None) -> io.TextIOBase | None:
    """Return the stream written through `_Output`; a stream that is not a file stays unchanged."""
    try:
        number = stream.fileno()
    except (AttributeError, OSError):  # a closed stream (`>&-`), or a notebook's
        return stream
    buffer = io.BufferedWriter(_Output(number, "wb", closefd=False))
    return io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
    )
