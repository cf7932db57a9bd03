"""The command `jaxedit`, or `python -m jaxedit`.

    jaxedit photo.jpg "make the ball blue"
    jaxedit train --config=configs/var_sar.py

Without the name of a command it edits a picture. `source <(jaxedit completion)` lets bash complete
commands and options; `source <(jaxedit completion zsh)` lets zsh.
"""

import importlib
import sys
from collections.abc import Sequence

from jaxedit import console
from jaxedit.commands import COMMANDS, COMPLETION, SHELLS, completion_script, nearest_command
from jaxedit.console import BAD_INPUT, DONE


def main(argv: Sequence[str]) -> int:
    """Edit a picture or print a completion script; return the exit code."""
    if argv[:1] == [COMPLETION]:
        return _print_completion(argv[1:])
    if argv and (near := nearest_command(argv[0])):
        print(f"error: {argv[0]}: no such command or file; did you mean {near}?", file=sys.stderr)
        return BAD_INPUT
    from jaxedit.editor import __main__ as edit

    return edit.main(argv)


def _print_completion(argv: Sequence[str]) -> int:
    """Print the script for the shell that the argument names; return the exit code."""
    shell = " ".join(argv) or "bash"
    if shell not in SHELLS:
        print(f"error: {COMPLETION} {shell}: expected {' or '.join(SHELLS)}", file=sys.stderr)
        return BAD_INPUT
    print(completion_script(shell), end="")
    return DONE


def run() -> None:
    """Run the command that the first argument names, or edit a picture."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        sys.argv[:2] = [f"{sys.argv[0]} {name}"]
        importlib.import_module(COMMANDS[name]).run()
    else:
        console.run(main)


if __name__ == "__main__":
    run()
