"""The names of the commands `jaxedit NAME`, and their completion in a shell."""

import difflib
import os

# Modules with a function `run`, which reads sys.argv. They are imported only when they are run.
COMMANDS = {
    "edit": "jaxedit.editor.__main__",
    "generate": "jaxedit.generate.__main__",
    "train": "jaxedit.train.__main__",
    "convert": "jaxedit.convert.__main__",
    "data": "jaxedit.datasets.convert.__main__",
    "evaluate": "jaxedit.evaluate.__main__",
    "analyse": "jaxedit.analyse.__main__",
    "serve": "jaxedit.serve.__main__",
    "cache": "jaxedit.cache.__main__",
}
COMPLETION = "completion"  # prints `completion_script`

# Options are read from the command's own help. Everything else is completed as a file's name.
_OPTIONS = "--help 2>/dev/null | grep -oE -e '--[A-Za-z_-]+' | sort -u"
_BASH = """\
_jaxedit() {
    local word=${COMP_WORDS[COMP_CWORD]} names=
    if [[ $word == -* ]]; then
        names=$("${COMP_WORDS[@]:0:2}" OPTIONS)
    elif [[ $COMP_CWORD == 1 ]]; then
        names="NAMES"
    fi
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
}
complete -o default -F _jaxedit jaxedit
"""
_ZSH = """\
#compdef jaxedit
_jaxedit() {
    if [[ ${words[CURRENT]} == -* ]]; then
        compadd -- ${(f)"$("${(@)words[1,2]}" OPTIONS)"}
        return
    fi
    (( CURRENT == 2 )) && compadd -- NAMES
    _files
}
(( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit }
compdef _jaxedit jaxedit
"""
SHELLS = {"bash": _BASH, "zsh": _ZSH}


def nearest_command(argument: str) -> str | None:
    """Return the command that a mistyped first argument is close to.

    Returns:
      None if no name is close, or if the argument may be a picture: it exists, or has a suffix or
      a folder.
    """
    may_be_picture = argument.startswith("-") or "." in argument or os.sep in argument
    if may_be_picture or os.path.exists(argument):
        return None
    return next(iter(difflib.get_close_matches(argument, [*COMMANDS, COMPLETION], 1)), None)


def completion_script(shell: str = "bash") -> str:
    """Return the script with which one of `SHELLS` completes commands, options and files."""
    script = SHELLS[shell].replace("OPTIONS", _OPTIONS)
    return script.replace("NAMES", " ".join([*COMMANDS, COMPLETION]))
