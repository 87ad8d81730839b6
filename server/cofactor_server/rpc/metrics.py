"""Counts of calls and how long they took, for Prometheus."""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Upper bounds of the buckets."""

_BOUNDS = (*(str(float(bound)) for bound in SECONDS), "+Inf")
_LABELS = ("method", "code")


class _Calls:
    """Those of one method with one code. Bare numbers: all calls are served on one event loop."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUNDS)
        self.seconds = 0.0


class Metrics(Collector):
    """Counts by method and code.

    Both labels are bounded: a method is one that is registered, or `unknown`; a code is a gRPC status code.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls: dict[tuple[str, str], _Calls] = {}
        self._unknown = 0
        registry.register(self)

    def observe(self, method: str, code: str, seconds: float) -> None:
        """Count one call."""
        calls = self._calls.get((method, code))
        if calls is None:
            calls = self._calls[method, code] = _Calls()
        calls.buckets[bisect_left(SECONDS, seconds)] += 1
        calls.seconds += seconds

    def unknown(self) -> None:
        """Count a call of a method that does not exist."""
        self._unknown += 1

    def collect(self) -> Iterable[Metric]:
        """Return what was counted."""
        answered = CounterMetricFamily("cofactor_rpc_calls", "Calls answered.", labels=_LABELS)
        took = HistogramMetricFamily("cofactor_rpc_seconds", "Time to answer a call.", labels=_LABELS)
        for key, calls in list(self._calls.items()):
            total, up_to = 0, []
            for bound, count in zip(_BOUNDS, calls.buckets, strict=True):
                total += count
                up_to.append((bound, total))
            answered.add_metric(key, total)
            took.add_metric(key, up_to, calls.seconds)
        if self._unknown:
            answered.add_metric(("unknown", "UNIMPLEMENTED"), self._unknown)
        return answered, took
