"""Counts, durations and queue lengths in Prometheus' text format. No payloads, no names of clients."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

PREFIX = "jina_clip"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The metrics of one application, in a registry of its own: several apps may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests answered", "route", "status")
        self._refusals = self._counter("refusals", "Requests refused or failed, by error code", "code")
        self._inputs = self._counter("inputs", "Inputs embedded", "modality")
        self._tokens = self._counter("tokens", "Tokens counted for usage", "modality")
        self._request_seconds = self._histogram("request_seconds", "From first byte to answer", SECONDS, "route")
        self._batch_seconds = self._histogram("batch_seconds", "One call of the backend", SECONDS, "modality")
        self._batch_inputs = self._histogram("batch_inputs", "Inputs per call of the backend", INPUTS, "modality")

    def add_gauge(self, name: str, help: str, value: Callable[[], float]) -> None:
        """Add a gauge that calls `value` whenever it is read."""
        Gauge(f"{PREFIX}_{name}", help, registry=self.registry).set_function(value)

    def count_response(self, route: str, status: int, seconds: float) -> None:
        """Count one response and its duration."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def count_error(self, code: str) -> None:
        """Count one error response."""
        self._refusals.labels(code).inc()

    def count_inputs(self, modality: str, inputs: int, tokens: int) -> None:
        """Count the embedded inputs of one request and their tokens."""
        if inputs:
            self._inputs.labels(modality).inc(inputs)
            self._tokens.labels(modality).inc(tokens)

    def count_batch(self, modality: str, inputs: int, seconds: float) -> None:
        """Count one call of the backend, its inputs and its duration."""
        self._batch_inputs.labels(modality).observe(inputs)
        self._batch_seconds.labels(modality).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", help, labels, buckets=buckets, registry=self.registry)
