"""What the HTTP side counts (Prometheus). Labels take values from closed sets only, so their number is bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class HttpMetrics:
    """Counters and histograms of the functions of all interfaces."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "smdp_function_seconds",
            "Time from the last byte of a request to its answer, by interface and function.",
            ("interface", "function"),
            registry=registry,
            buckets=_BUCKETS,
        )
        self._refusals = Counter(
            "smdp_function_refusals",
            "Functions answered Failed, by subject and reason code.",
            ("interface", "function", "subject", "reason"),
            registry=registry,
        )
        self._faults = Counter(
            "smdp_http_faults",
            "Requests answered with an HTTP status of 400 or above.",
            ("interface", "function", "status"),
            registry=registry,
        )

        self._timed: dict[tuple[str, str], Histogram] = {}

    def answered(self, interface: str, function: str, seconds: float) -> None:
        """A function took this long, whatever came of it."""
        timed = self._timed.get((interface, function))
        if timed is None:
            timed = self._timed[interface, function] = self._seconds.labels(interface, function)
        timed.observe(seconds)

    def refused(self, interface: str, function: str, codes: tuple[str, str]) -> None:
        """A function was answered Failed with (subject, reason)."""
        self._refusals.labels(interface, function, *codes).inc()

    def fault(self, interface: str, function: str, status: int) -> None:
        """A request was turned away on the HTTP level."""
        self._faults.labels(interface, function, str(status)).inc()
