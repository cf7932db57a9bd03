"""The check whether a bundled model, which knows the toybox's words only, is given other words."""

import logging
import re
import unicodedata

from jaxedit.data.toybox.language import VOCABULARY
from jaxedit.editor.photo_check import LEAST as BUNDLED
from jaxedit.warn_once import warn_once

log = logging.getLogger(__name__)

SHOWN = 5  # unknown words in a notice


def words_notice(name: str, text: str) -> str:
    """Return a notice about words that the model `name` was never trained on, "" if there is none.

    The log has it once. Models that are not bundled have no notices.
    """
    unknown = unknown_words(text) if name in BUNDLED else []
    if not unknown:
        return ""
    words = ", ".join(map(repr, unknown[:SHOWN]))
    more = ", ..." if len(unknown) > SHOWN else ""
    notice = f"{name} knows only the toybox's words (docs/toybox.md), not {words}{more}"
    warn_once(log, "%s", notice)
    return notice


def unknown_words(text: str) -> list[str]:
    """Return the words of a text that the toybox never uses, in their order, each once."""
    read = unicodedata.normalize("NFKC", text).lower()  # as the toy tokenizer reads it
    words = dict.fromkeys(re.findall(r"\w+", read))
    return [word for word in words if word not in VOCABULARY]
