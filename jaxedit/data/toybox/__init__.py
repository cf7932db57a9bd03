"""The toybox: an endless, exactly labelled image editing data set that is drawn on the fly."""

from jaxedit.data.toybox.checker import CheckResult, check
from jaxedit.data.toybox.edits import EDIT_TYPES
from jaxedit.data.toybox.language import VOCABULARY
from jaxedit.data.toybox.scene import LEVELS
from jaxedit.data.toybox.toy_pairs import SPLITS, TASKS, ToyPair, make
