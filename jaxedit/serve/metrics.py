"""The numbers that Prometheus reads from the server."""

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from jaxedit.serve.jobs import Job

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters, gauges and histograms of one server; no label holds a text of a client."""

    def __init__(self, *, waiting: Callable[[], int], loaded: Callable[[], int]) -> None:
        """Start at zero.

        Args:
          waiting: returns the length of the queue.
          loaded: returns the number of models in memory.
        """
        self._registry = CollectorRegistry()
        own = {"registry": self._registry}
        self._requests = Counter(
            "jaxedit_requests", "Requests, by route and status code", ["route", "code"], **own
        )
        self._errors = Counter("jaxedit_errors", "Errors told to clients", ["code"], **own)
        self._latency = Histogram(
            "jaxedit_request_seconds",
            "Seconds from a request's arrival to its answer",
            ["route"],
            buckets=_SECONDS,
            **own,
        )
        self._queued = Histogram(
            "jaxedit_queue_seconds", "Seconds that an edit waited", buckets=_SECONDS, **own
        )
        self._batch_size = Histogram(
            "jaxedit_batch_size", "Edits made at once", ["model"], buckets=_ROWS, **own
        )
        self._batch = Histogram(
            "jaxedit_batch_seconds", "Seconds of a batch", ["model"], buckets=_SECONDS, **own
        )
        Gauge("jaxedit_queue_length", "Edits that wait", **own).set_function(waiting)
        Gauge("jaxedit_models_loaded", "Models in memory", **own).set_function(loaded)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, status).inc()
        self._latency.labels(route).observe(seconds)

    def count_error(self, code: str) -> None:
        """Count an error by its code in the API."""
        self._errors.labels(code).inc()

    def count_batch(self, model: str, jobs: Sequence[Job], start: float) -> None:
        """Count a batch that began at `start`, by `time.monotonic`, and ends now."""
        self._batch_size.labels(model).observe(len(jobs))
        self._batch.labels(model).observe(time.monotonic() - start)
        for job in jobs:
            self._queued.observe(start - job.submitted)

    def text(self) -> bytes:
        """Return all numbers in Prometheus's text format."""
        return generate_latest(self._registry)
