"""What a run only reports: it may fail, and the run goes on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from jaxedit.config import ConfigError

log = logging.getLogger(__name__)


@contextmanager
def only_reported(what: str) -> Iterator[None]:
    """Run what is inside; if it fails, say so in one line of the log and go on after it.

    For speed, profiles and dashboards: nothing that the training needs. Settings that cannot work
    still end the run.

    Args:
      what: failed, as the beginning of a sentence.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # any: those of dashboards and buckets have no common type
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s failed, the run goes on: %s", what, reason[:300])
