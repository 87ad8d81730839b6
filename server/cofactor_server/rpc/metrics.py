"""Counts of calls and how long they took, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Upper bounds of the buckets."""


class Metrics:
    """Counts by method and code.

    Both labels are bounded: a method is one that is registered, or `unknown`; a code is a gRPC status code.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "code")
        self._calls = Counter("cofactor_rpc_calls", "Calls answered.", labels, registry=registry)
        self._seconds = Histogram(
            "cofactor_rpc_seconds", "Time to answer a call.", labels, registry=registry, buckets=SECONDS
        )
        self._children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, code: str, seconds: float) -> None:
        """Count one call."""
        key = (method, code)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (self._calls.labels(*key), self._seconds.labels(*key))
        calls, histogram = children
        calls.inc()
        histogram.observe(seconds)

    def unknown(self) -> None:
        """Count a call of a method that does not exist."""
        self._calls.labels("unknown", "UNIMPLEMENTED").inc()
