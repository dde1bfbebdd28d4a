"""The queues of the controllers of this process, as ``component-base/metrics/prometheus/workqueue`` shows them.

A queue counts for itself; several of one name (a component was started again) are shown together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from minikube_py.client.workqueue import QUEUE_SECONDS, WorkQueue
from minikube_py.components.apiserver.metrics.values import Definition, Distribution, Family, merged

_NAME = ("name",)
_DEPTH = Definition("workqueue_depth", "gauge", "Current depth of workqueue", _NAME)
_ADDS = Definition("workqueue_adds_total", "counter", "Total number of adds handled by workqueue", _NAME)
_RETRIES = Definition("workqueue_retries_total", "counter", "Total number of retries handled by workqueue", _NAME)
_WAITED = Definition(
    "workqueue_queue_duration_seconds",
    "histogram",
    "How long in seconds an item stays in workqueue before being requested.",
    _NAME,
    QUEUE_SECONDS,
)
_WORKED = Definition(
    "workqueue_work_duration_seconds",
    "histogram",
    "How long in seconds processing an item from workqueue takes.",
    _NAME,
    QUEUE_SECONDS,
)
_UNFINISHED = Definition(
    "workqueue_unfinished_work_seconds",
    "gauge",
    "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values "
    "indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.",
    _NAME,
)
_LONGEST = Definition(
    "workqueue_longest_running_processor_seconds",
    "gauge",
    "How many seconds has the longest running processor for workqueue been running.",
    _NAME,
)


def queue_families(queues: Iterable[WorkQueue[str]]) -> Iterator[Family]:
    """The families of all named queues."""
    by_name: dict[str, list[WorkQueue[str]]] = {}
    for queue in queues:
        if queue.name:
            by_name.setdefault(queue.name, []).append(queue)

    def summed(of: Callable[[WorkQueue[str]], float]) -> list[tuple[tuple[str, ...], float]]:
        return [((name,), sum(map(of, found))) for name, found in by_name.items()]

    yield Family(_DEPTH, summed(len))
    yield Family(_ADDS, summed(lambda queue: queue.counts.adds))
    yield Family(_RETRIES, summed(lambda queue: queue.counts.retries))
    named = [(name, queue) for name, found in by_name.items() for queue in found]
    yield Family(_WAITED, merged(((name,), partial(_distribution, queue.waited)) for name, queue in named))
    yield Family(_WORKED, merged(((name,), partial(_distribution, queue.worked)) for name, queue in named))
    yield Family(_UNFINISHED, summed(lambda queue: sum(queue.running_seconds())))
    yield Family(_LONGEST, summed(lambda queue: max(queue.running_seconds(), default=0.0)))


def _distribution(observed: tuple[list[int], float]) -> Distribution:
    found = Distribution(QUEUE_SECONDS)
    found.counts, found.total = list(observed[0]), observed[1]
    return found
