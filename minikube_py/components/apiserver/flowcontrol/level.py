"""One priority level: its seats, and the queues in which requests wait for one.

A request takes one seat or more for as long as it is served. Where all are taken it waits in one of the
level's queues (shuffle sharding spreads a level's flows over them, so that a flood fills the few queues of its
own flow), and the queue that has used the fewest seat-seconds is served next. Where the level does not queue,
where the flow's queues are full, or after ``longest_wait`` seconds, the request is refused.

What differs from Kubernetes' ``fairqueuing``: a request that is answered without waiting for anything never
shares its moment with another one here, since one event loop serves them all. So a seat stays taken until the
loop's next turn (``control`` gives it back), which bounds how many requests of one level a single turn serves.

Times are seconds of the injected clock. Not thread-safe; used on one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minikube_py.machinery.objects import Object, name_of

_SMOOTHING = 0.1
_FIRST_GUESS_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Limits:
    """What a PriorityLevelConfiguration says. ``borrowing_percent`` None borrows without limit."""

    name: str
    uid: str = ""
    exempt: bool = False
    shares: int = 0
    lendable_percent: int = 0
    borrowing_percent: int | None = None
    queues: int = 0
    hand_size: int = 0
    queue_length: int = 0


def read_limits(obj: Object) -> Limits:
    """A PriorityLevelConfiguration object as limits; 0 queues means that the level refuses instead of queueing."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    exempt = spec.get("type") == "Exempt"
    part: Mapping[str, Any] = spec.get("exempt" if exempt else "limited") or {}
    queuing: Mapping[str, Any] = (part.get("limitResponse") or {}).get("queuing") or {}
    return Limits(
        name=name_of(obj),
        uid=obj["metadata"].get("uid", ""),
        exempt=exempt,
        shares=part.get("nominalConcurrencyShares", 0 if exempt else 30),
        lendable_percent=part.get("lendablePercent", 0),
        borrowing_percent=part.get("borrowingLimitPercent"),
        queues=queuing.get("queues", 0),
        hand_size=queuing.get("handSize", 0),
        queue_length=queuing.get("queueLengthLimit", 0),
    )


@dataclass(slots=True, eq=False)
class Waiter:
    """A request in a queue; ``turn`` is set when it has got its seats."""

    seats: int
    turn: asyncio.Future[None]
    queue: Queue


@dataclass(slots=True, eq=False)
class Queue:
    """``used`` is virtual time: the seat-seconds that its requests have had, brought forward after idling."""

    waiting: deque[Waiter] = field(default_factory=deque)
    used: float = 0.0
    serving: int = 0


class Level:
    """See the module. ``nominal`` is the number of seats of its own."""

    def __init__(self, limits: Limits, nominal: int) -> None:
        self.limits = limits
        self.nominal = nominal
        self.serving = 0
        self.waiting = 0
        self._queues = [Queue() for _ in range(limits.queues)]
        self._busy: set[int] = set()
        self._virtual = 0.0
        self._typical = _FIRST_GUESS_SECONDS

    @property
    def lendable(self) -> int:
        return round(self.nominal * self.limits.lendable_percent / 100)

    @property
    def most(self) -> int | None:
        """The most seats it may ever hold; None: no limit of its own."""
        percent = self.limits.borrowing_percent
        return None if percent is None else self.nominal + round(self.nominal * percent / 100)

    @property
    def spare(self) -> int:
        """Seats that others may use now."""
        return max(0, min(self.lendable, self.nominal - self.serving))

    @property
    def borrowed(self) -> int:
        return max(0, self.serving - self.nominal)

    def change(self, limits: Limits, nominal: int) -> None:
        """Take new limits; requests that wait keep their queues, of which there may be more afterwards."""
        self.limits, self.nominal = limits, nominal
        missing = limits.queues - len(self._queues)
        self._queues.extend(Queue() for _ in range(missing))

    def fits(self, seats: int, on_loan: int) -> bool:
        """Whether ``seats`` are free: of its own, or ``on_loan`` from others. A lone request always fits."""
        taken = self.serving + seats
        if taken <= self.nominal or self.serving == 0:
            return True
        most = self.most
        return (most is None or taken <= most) and taken - max(self.nominal, self.serving) <= on_loan

    def take(self, seats: int) -> None:
        self.serving += seats

    def give_back(self, seats: int, seconds: float, queue: Queue | None) -> None:
        """End of a request that held ``seats`` for ``seconds``."""
        self.serving -= seats
        guess = self._typical
        self._typical += _SMOOTHING * (seconds - guess)
        if queue is not None:
            queue.serving -= seats
            queue.used += seats * (seconds - guess)

    def enqueue(self, flow: str, seats: int, turn: asyncio.Future[None]) -> Waiter | None:
        """Put a request behind the others of its flow; None when its queues are full or there are none."""
        index = self._shortest(flow)
        if index is None or len(self._queues[index].waiting) >= self.limits.queue_length:
            return None
        queue = self._queues[index]
        if not queue.waiting:
            # A queue that was idle has no claim on the seats that it did not use.
            queue.used = max(queue.used, self._virtual)
            self._busy.add(index)
        waiter = Waiter(seats, turn, queue)
        queue.waiting.append(waiter)
        self.waiting += 1
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Take a request out that waits no longer; nothing happens when it has been served."""
        if waiter in waiter.queue.waiting:
            waiter.queue.waiting.remove(waiter)
            self.waiting -= 1
            self._idle(waiter.queue)

    def next_up(self) -> Waiter | None:
        """The request to serve next."""
        if not self._busy:
            return None
        index = min(self._busy, key=lambda number: (self._queues[number].used, number))
        return self._queues[index].waiting[0]

    def serve(self, waiter: Waiter) -> None:
        """Seat the request that ``next_up`` named."""
        queue = waiter.queue
        queue.waiting.popleft()
        self.waiting -= 1
        self._virtual = queue.used
        queue.used += waiter.seats * self._typical
        queue.serving += waiter.seats
        self.serving += waiter.seats
        self._idle(queue)
        waiter.turn.set_result(None)

    def _idle(self, queue: Queue) -> None:
        if not queue.waiting:
            self._busy.discard(self._queues.index(queue))

    def _shortest(self, flow: str) -> int | None:
        """Of the flow's hand of queues, the one with the least in it."""
        if not self.limits.queues:
            return None
        hand = deal(flow, self.limits.queues, self.limits.hand_size)
        queues = self._queues
        return min(hand, key=lambda number: (len(queues[number].waiting), queues[number].serving))


def deal(flow: str, deck: int, hand: int) -> list[int]:
    """``hand`` different numbers below ``deck``, always the same for a flow (``util/shufflesharding``)."""
    value = int.from_bytes(hashlib.blake2b(flow.encode(), digest_size=16).digest(), "big")
    dealt: list[int] = []
    for drawn in range(min(hand, deck)):
        value, card = divmod(value, deck - drawn)
        # Of the cards not dealt yet, the card-th one.
        for earlier in sorted(dealt):
            if card >= earlier:
                card += 1
        dealt.append(card)
    return dealt
