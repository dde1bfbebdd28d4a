"""Ends connections whose client does not send a request: without it they would stay for ever.

aiohttp limits the time between two requests of a connection, but not the time to the first one. So many at
a time may wait for it; one more, and the one that has waited longest is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

first_request_seconds = 32.0
"""kube-apiserver's time for a request's headers."""
most_waiting = 1024


class FirstRequests:
    """A protocol factory around a server's; ``heard`` must be told of each request."""

    def __init__(self, make: Callable[[], web.RequestHandler], seconds: float = first_request_seconds) -> None:
        self._make = make
        self._seconds = seconds
        self._timers: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def __call__(self) -> web.RequestHandler:
        """A new connection's handler."""
        if len(self._timers) >= most_waiting:
            oldest = next(iter(self._timers))
            self.heard(oldest)
            oldest.force_close()
        handler = self._make()
        self._timers[handler] = asyncio.get_running_loop().call_later(self._seconds, self._give_up, handler)
        return handler

    def heard(self, handler: web.RequestHandler) -> None:
        """A request has come."""
        timer = self._timers.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self, handler: web.RequestHandler) -> None:
        del self._timers[handler]
        handler.force_close()
