"""Slows the client that floods the store, and nobody else.

Every client may write ``rate`` revisions a second on average and save up for a burst. Who has used
that up waits until it is their turn: their own writes queue behind each other, others pass by. A
waiting write holds nothing but its place; there is no refusal, so a client never sees an error.
"""

from __future__ import annotations

from minikube_py.machinery.clock import Clock

BURST_SECONDS = 10.0
_MAX_CLIENTS = 4096


class ClientQuota:
    """Only the event loop touches it. Unnamed clients (the store's own housekeeping) are free."""

    __slots__ = ("_clock", "_interval", "_turns")

    def __init__(self, rate: float, clock: Clock) -> None:
        """``rate`` in revisions a second, above 0."""
        self._interval = 1.0 / rate
        self._clock = clock
        self._turns: dict[str, float] = {}  # when a client's next write is due, were it evenly spread

    async def admit(self, client: str) -> None:
        """Wait until ``client`` may write once more."""
        if not client:
            return
        now = self._clock.monotonic()
        turn = max(self._turns.get(client, 0.0), now - BURST_SECONDS) + self._interval
        if client not in self._turns and len(self._turns) >= _MAX_CLIENTS:
            self._turns = {name: due for name, due in self._turns.items() if due > now - BURST_SECONDS}
        self._turns[client] = turn
        if turn > now:
            await self._clock.sleep(turn - now)
