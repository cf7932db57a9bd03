"""The toybox: an endless, exactly labelled image editing data set that is drawn on the fly."""

from jaxedit.data.toy.check import CheckResult, check
from jaxedit.data.toy.edits import EDIT_TYPES
from jaxedit.data.toy.language import VOCABULARY
from jaxedit.data.toy.pairs import SPLITS, TASKS, ToyPair, make
from jaxedit.data.toy.scene import LEVELS

__all__ = [
    "EDIT_TYPES",
    "LEVELS",
    "SPLITS",
    "TASKS",
    "VOCABULARY",
    "CheckResult",
    "ToyPair",
    "check",
    "make",
]
