"""Numbers that are counted where requests pass: plain dictionaries and lists, touched on the event loop alone.

A ``Definition`` says what a metric is called; ``Counts`` and ``Distributions`` hold its values by label values.
``prometheus_client``'s own counters take a lock and several calls for each increment, ten times the cost of these.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

Labels = tuple[str, ...]
Sample = tuple[Labels, "float | Distribution"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric family. ``bounds`` are a histogram's upper bounds without +Inf; a summary has none and no quantiles."""

    name: str
    type: str
    """counter, gauge, histogram or summary."""
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A definition with its values at the moment of a scrape; ``samples`` may be made one by one as they are read."""

    definition: Definition
    samples: Iterable[Sample]


class Distribution:
    """How many observations fell under which bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, other: Distribution) -> None:
        """Take over the observations of another one with the same bounds."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def under(self, bounds: Sequence[float]) -> Distribution:
        """The same observations by fewer bounds, all of which must be among these."""
        found = Distribution(bounds)
        found.total, counts = self.total, found.counts
        for place, count in zip(_places(tuple(self.bounds), tuple(bounds)), self.counts, strict=True):
            counts[place] += count
        return found


@lru_cache(maxsize=64)
def _places(bounds: tuple[float, ...], fewer: tuple[float, ...]) -> tuple[int, ...]:
    """Under which of fewer bounds each count belongs."""
    return tuple(bisect_left(fewer, bound) for bound in (*bounds, float("inf")))


class Counts:
    """A counter or gauge by label values."""

    __slots__ = ("definition", "values")

    def __init__(self, definition: Definition, *initial: Labels) -> None:
        """``initial`` label values are there from the start, at zero."""
        self.definition = definition
        self.values: dict[Labels, float] = dict.fromkeys(initial, 0)

    def inc(self, labels: Labels = (), by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by

    def set(self, labels: Labels, value: float) -> None:
        self.values[labels] = value

    def family(self) -> Family:
        return Family(self.definition, list(self.values.items()))


class Distributions:
    """A histogram (or summary) by label values."""

    __slots__ = ("definition", "values")

    def __init__(self, definition: Definition, *initial: Labels) -> None:
        """``initial`` label values are there from the start, without observations."""
        self.definition = definition
        self.values = {labels: Distribution(definition.bounds) for labels in initial}

    def observe(self, labels: Labels, value: float) -> None:
        self.of(labels).observe(value)

    def of(self, labels: Labels) -> Distribution:
        """The distribution of these label values, to be kept where it is observed often."""
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = Distribution(self.definition.bounds)
        return found

    def family(self) -> Family:
        return Family(self.definition, list(self.values.items()))


def merged(samples: Iterable[tuple[Labels, Callable[[], Distribution]]]) -> Iterator[tuple[Labels, Distribution]]:
    """One distribution for equal label values, where a label that is not shown told them apart.

    ``samples`` are read at once; the distributions are made when their turn comes.
    """
    found: dict[Labels, list[Callable[[], Distribution]]] = {}
    for labels, make in samples:
        found.setdefault(labels, []).append(make)
    return ((labels, _sum(makers)) for labels, makers in found.items())


def _sum(makers: Sequence[Callable[[], Distribution]]) -> Distribution:
    whole = makers[0]()
    for make in makers[1:]:
        total = Distribution(whole.bounds)
        total.add(whole)
        total.add(make())
        whole = total
    return whole


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds that grow by a factor."""
    return tuple(start * factor**number for number in range(count))


def families(*values: Counts | Distributions) -> Iterator[Family]:
    """The families of several metrics."""
    for value in values:
        yield value.family()
