"""Messages for the person at a notebook or a Python prompt, where logging is rarely set up."""

import logging
import sys


def inform(log: logging.Logger, message: str, *values: object) -> None:
    """Log at level INFO; print instead where someone is waiting and would not see the log.

    That is in a notebook or at a prompt whose logging has Python's default level, WARNING. The
    level of the logger "jaxedit" turns the printing off.
    """
    is_prompt = hasattr(sys, "ps1")  # IPython sets it too
    is_set = logging.getLogger("jaxedit").level != logging.NOTSET
    if is_prompt and not is_set and log.getEffectiveLevel() == logging.WARNING:
        print(message % values, flush=True)
    else:
        log.info(message, *values)
