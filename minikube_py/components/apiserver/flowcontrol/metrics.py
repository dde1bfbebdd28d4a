"""What flow control counts, under Kubernetes' names; read when somebody scrapes.

Counting is plain attributes of ``FlowCounts``, since every request passes here; the exposition is built from
them by a collector.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from minikube_py.components.apiserver.flowcontrol.level import Level

_SECONDS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_SEATS = (1, 2, 4, 10)
_LABELS = ("flow_schema", "priority_level")


class Times:
    """A histogram of seconds: counts by bucket and the sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        return _cumulative(_SECONDS, self.counts)


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound, the last one +Inf."""
    return list(zip((*map(str, bounds), "+Inf"), accumulate(counts), strict=True))


@dataclass(slots=True)
class FlowCounts:
    """Of one schema on one level."""

    dispatched: int = 0
    executing: int = 0
    seats: int = 0
    waiting: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    execution: Times = field(default_factory=Times)
    wait: Times = field(default_factory=Times)
    estimated: list[int] = field(default_factory=lambda: [0] * (len(_SEATS) + 1))
    """Requests by the seats that they were estimated to need; the sum is ``estimated_seats``."""
    estimated_seats: int = 0

    def needs(self, seats: int) -> None:
        """A request begins, with so many seats."""
        self.estimated[bisect_left(_SEATS, seats)] += 1
        self.estimated_seats += seats

    def reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


class FlowMetrics(Collector):
    """See the module."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts: dict[tuple[str, str], FlowCounts] = {}
        self._levels: Mapping[str, Level] = {}
        registry.register(self)

    def watch(self, levels: Mapping[str, Level]) -> None:
        """Report on these levels; the mapping is read anew each time."""
        self._levels = levels

    def counts(self, schema: str, level: str) -> FlowCounts:
        return self._counts.setdefault((schema, level), FlowCounts())

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._distributions()
        yield from self._of_levels()

    def _requests(self) -> Iterator[Metric]:
        """How many requests of each flow there were and are."""
        dispatched = CounterMetricFamily(
            "apiserver_flowcontrol_dispatched_requests",
            "Number of requests executed by API Priority and Fairness subsystem",
            labels=_LABELS,
        )
        rejected = CounterMetricFamily(
            "apiserver_flowcontrol_rejected_requests",
            "Number of requests rejected by API Priority and Fairness subsystem",
            labels=(*_LABELS, "reason"),
        )
        executing = GaugeMetricFamily(
            "apiserver_flowcontrol_current_executing_requests",
            "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage",
            labels=_LABELS,
        )
        seats = GaugeMetricFamily(
            "apiserver_flowcontrol_current_executing_seats",
            "Concurrency (number of seats) occupied by the currently executing requests",
            labels=_LABELS,
        )
        waiting = GaugeMetricFamily(
            "apiserver_flowcontrol_current_inqueue_requests",
            "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
            labels=_LABELS,
        )
        for key, counts in list(self._counts.items()):
            dispatched.add_metric(key, counts.dispatched)
            executing.add_metric(key, counts.executing)
            seats.add_metric(key, counts.seats)
            waiting.add_metric(key, counts.waiting)
            for reason, number in counts.rejected.items():
                rejected.add_metric((*key, reason), number)
        yield from (dispatched, rejected, executing, seats, waiting)

    def _distributions(self) -> Iterator[Metric]:
        """How long requests of each flow waited and ran, and how many seats they were taken to need."""
        execution = HistogramMetricFamily(
            "apiserver_flowcontrol_request_execution_seconds",
            "Duration of request execution in the API Priority and Fairness subsystem",
            labels=(*_LABELS, "type"),
        )
        wait = HistogramMetricFamily(
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "Length of time a request spent waiting in its queue",
            labels=_LABELS,
        )
        estimated = HistogramMetricFamily(
            "apiserver_flowcontrol_work_estimated_seats",
            "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority "
            "and Fairness",
            labels=_LABELS,
        )
        for key, counts in list(self._counts.items()):
            execution.add_metric((*key, "regular"), counts.execution.buckets(), counts.execution.total)
            wait.add_metric(key, counts.wait.buckets(), counts.wait.total)
            estimated.add_metric(key, _cumulative(_SEATS, counts.estimated), counts.estimated_seats)
        yield from (execution, wait, estimated)

    def _of_levels(self) -> Iterator[Metric]:
        nominal = GaugeMetricFamily(
            "apiserver_flowcontrol_nominal_limit_seats",
            "Nominal number of execution seats configured for each priority level",
            labels=("priority_level",),
        )
        lower = GaugeMetricFamily(
            "apiserver_flowcontrol_lower_limit_seats",
            "Configured lower bound on number of execution seats available to each priority level",
            labels=("priority_level",),
        )
        upper = GaugeMetricFamily(
            "apiserver_flowcontrol_upper_limit_seats",
            "Configured upper bound on number of execution seats available to each priority level",
            labels=("priority_level",),
        )
        current = GaugeMetricFamily(
            "apiserver_flowcontrol_current_limit_seats",
            "current derived number of execution seats available to each priority level",
            labels=("priority_level",),
        )
        total = sum(level.nominal for level in self._levels.values())
        for name, level in self._levels.items():
            nominal.add_metric((name,), level.nominal)
            lower.add_metric((name,), level.nominal - level.lendable)
            upper.add_metric((name,), total if level.most is None else level.most)
            current.add_metric((name,), max(level.nominal, level.serving))
        yield from (nominal, lower, upper, current)
