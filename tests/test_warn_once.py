import logging
import threading

from jaxedit import warn_once

log = logging.getLogger("jaxedit.test")


def test_once_for_the_same_values_whatever_the_thread(caplog):
    warn_once.forget()
    together = threading.Barrier(8)

    def warn(size: int) -> None:
        together.wait()
        warn_once.warn_once(log, "%d pixels", size)

    threads = [threading.Thread(target=warn, args=(size,)) for size in (1, 2) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(caplog.messages) == ["1 pixels", "2 pixels"]
