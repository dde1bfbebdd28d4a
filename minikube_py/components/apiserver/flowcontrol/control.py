"""The one call of the HTTP face: wait for a seat, be served, give the seat back.

``FlowControl`` holds the compiled schemas and the levels. Classification is remembered for each (user, request
kind), so a request of a known kind costs two look-ups and one deferred call. Seats are lent at the moment they
are asked for: a level that has none left may use what the others' ``lendablePercent`` leaves free right then
(Kubernetes moves such limits every ten seconds; here nothing runs while nothing happens).

Invariants: every seat that is taken is given back, also when the request is cancelled or fails; a level below
its nominal limit never waits for another level.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from minikube_py.components.apiserver.flowcontrol.level import Level, Limits, Queue, Waiter
from minikube_py.components.apiserver.flowcontrol.metrics import FlowCounts, FlowMetrics
from minikube_py.components.apiserver.flowcontrol.schemas import Schema, in_order
from minikube_py.components.apiserver.types import Attributes, UserInfo
from minikube_py.machinery.clock import Clock

remembered_flows = 8192
RETRY_AFTER_SECONDS = 1


class TooManyRequests(Exception):
    """The request is refused; ``reason`` is queue-full, concurrency-limit or time-out."""

    def __init__(self, reason: str, flow: Flow) -> None:
        super().__init__(f"{flow.schema.name}: {reason}")
        self.reason = reason
        self.flow = flow


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Where a request belongs: its schema, its level and the queues of its flow."""

    schema: Schema
    level: Level
    key: str
    counts: FlowCounts

    @property
    def headers(self) -> Mapping[str, str]:
        return {
            "X-Kubernetes-PF-FlowSchema-UID": self.schema.uid,
            "X-Kubernetes-PF-PriorityLevel-UID": self.level.limits.uid,
        }


@dataclass(frozen=True, slots=True)
class Seat:
    """What a served request holds until ``FlowControl.leave``."""

    flow: Flow
    seats: int
    since: float
    queue: Queue | None


class FlowControl:
    """See the module. ``total`` is the number of seats of the whole server."""

    def __init__(self, total: int, clock: Clock, metrics: FlowMetrics) -> None:
        self._total = total
        self._clock = clock
        self._metrics = metrics
        self._schemas: tuple[Schema, ...] = ()
        self._levels: dict[str, Level] = {}
        self._flows: dict[tuple[object, ...], Flow] = {}
        metrics.watch(self._levels)

    @property
    def configured(self) -> bool:
        return bool(self._schemas)

    def configure(self, schemas: Iterable[Schema], levels: Iterable[Limits]) -> None:
        """Take a new configuration; requests that are served or wait keep their places.

        Schemas whose level is missing are left out, as Kubernetes does. A level that is gone serves those that
        wait in it and then ends.
        """
        wanted = {limits.name: limits for limits in levels}
        shares = sum(limits.shares for limits in wanted.values()) or 1
        for name in self._levels.keys() - wanted.keys():
            self._drain(self._levels.pop(name))
        for name, limits in wanted.items():
            nominal = -(-self._total * limits.shares // shares)
            found = self._levels.get(name)
            if found is None:
                self._levels[name] = Level(limits, nominal)
            else:
                found.change(limits, nominal)
        self._schemas = in_order(schema for schema in schemas if schema.level in self._levels)
        self._flows.clear()
        self._dispatch()

    def classify(self, user: UserInfo, attributes: Attributes) -> Flow | None:
        """The request's flow; None only when there is no schema at all that takes it."""
        request = attributes.resource_request
        key = (
            user.name,
            user.groups,
            attributes.verb,
            attributes.namespace if request else attributes.path,
            attributes.resource,
            attributes.subresource,
            attributes.group,
        )
        flow = self._flows.get(key)
        if flow is None:
            flow = self._classified(user, attributes)
            if flow is None:
                return None
            if len(self._flows) >= remembered_flows:
                self._flows.clear()
            self._flows[key] = flow
        return flow

    def _classified(self, user: UserInfo, attributes: Attributes) -> Flow | None:
        for schema in self._schemas:
            if schema.matches(user, attributes):
                level = self._levels[schema.level]
                key = f"{schema.name}/{schema.flow(user, attributes)}"
                return Flow(schema, level, key, self._metrics.counts(schema.name, schema.level))
        return None

    async def enter(self, flow: Flow, seats: int, longest_wait: float) -> Seat | None:
        """Wait for the request's turn, at most ``longest_wait`` seconds. None: the level knows no limits.

        Raises TooManyRequests. Every seat that is returned must be given to ``leave``.
        """
        admitted, seat = self.try_enter(flow, seats)
        if admitted:
            return seat
        return self._begun(flow, seats, await self._wait(flow, seats, longest_wait))

    def try_enter(self, flow: Flow, seats: int) -> tuple[bool, Seat | None]:
        """Whether the request may be served at once, and its seat as ``enter`` gives it."""
        level = flow.level
        if level.limits.exempt:
            flow.counts.dispatched += 1
            flow.counts.needs(seats)
            return True, None
        if level.waiting or not level.fits(seats, self._on_loan(level)):
            return False, None
        level.take(seats)
        return True, self._begun(flow, seats, None)

    def _begun(self, flow: Flow, seats: int, queue: Queue | None) -> Seat:
        flow.counts.dispatched += 1
        flow.counts.executing += 1
        flow.counts.needs(seats)
        flow.counts.seats += seats
        return Seat(flow, seats, self._clock.monotonic(), queue)

    def leave(self, seat: Seat) -> None:
        """Give the seats back at the loop's next turn (see ``level``)."""
        asyncio.get_running_loop().call_soon(self._give_back, seat)

    def _give_back(self, seat: Seat) -> None:
        seconds = self._clock.monotonic() - seat.since
        counts = seat.flow.counts
        counts.executing -= 1
        counts.seats -= seat.seats
        counts.execution.observe(seconds)
        seat.flow.level.give_back(seat.seats, seconds, seat.queue)
        self._dispatch()

    async def _wait(self, flow: Flow, seats: int, longest_wait: float) -> Queue:
        level, counts = flow.level, flow.counts
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = level.enqueue(flow.key, seats, turn)
        if waiter is None:
            reason = "queue-full" if level.limits.queues else "concurrency-limit"
            counts.reject(reason)
            raise TooManyRequests(reason, flow)
        counts.waiting += 1
        begin = self._clock.monotonic()
        try:
            async with asyncio.timeout(longest_wait):
                await turn
        except TimeoutError:
            self._gone(level, waiter)
            counts.reject("time-out")
            raise TooManyRequests("time-out", flow) from None
        except asyncio.CancelledError:
            self._gone(level, waiter)
            raise
        finally:
            counts.waiting -= 1
            counts.wait.observe(self._clock.monotonic() - begin)
        return waiter.queue

    def _gone(self, level: Level, waiter: Waiter) -> None:
        """A waiter ends before it was served, or in the very moment in which it got its seats."""
        level.leave(waiter)
        if waiter.turn.done() and not waiter.turn.cancelled():
            level.give_back(waiter.seats, 0.0, waiter.queue)
            self._dispatch()

    def _dispatch(self) -> None:
        for level in self._levels.values():
            while level.waiting:
                waiter = level.next_up()
                if waiter is None or not level.fits(waiter.seats, self._on_loan(level)):
                    break
                if waiter.turn.done():
                    level.leave(waiter)
                else:
                    level.serve(waiter)

    def _drain(self, level: Level) -> None:
        while (waiter := level.next_up()) is not None:
            with suppress(asyncio.InvalidStateError):
                level.serve(waiter)

    def _on_loan(self, borrower: Level) -> int:
        """Seats that the other levels leave free for ``borrower`` now; not counted while it has its own."""
        if borrower.serving < borrower.nominal:
            return 0
        others = [level for level in self._levels.values() if level is not borrower]
        return max(
            0, sum(level.spare for level in others) - sum(level.borrowed for level in others) - borrower.borrowed
        )
