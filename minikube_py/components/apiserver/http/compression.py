"""gzip for large answers to clients that take it; the newest results are kept, because lists repeat."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from aiohttp import web

THRESHOLD_BYTES = 128 * 1024
_IN_THREAD_BYTES = 512 * 1024
_KEPT = 8
_LEVEL = 1

_recent: OrderedDict[bytes, bytes] = OrderedDict()


async def compress(request: web.BaseRequest, response: web.Response) -> None:
    """Compress the body in place when it is worth it and the client accepts gzip."""
    body = response.body
    if not isinstance(body, bytes) or len(body) <= THRESHOLD_BYTES or "Content-Encoding" in response.headers:
        return
    accepted = request.headers.get("Accept-Encoding", "")
    if not any(coding.strip() == "gzip" for coding in accepted.split(",")):  # with a quality: not, as in the reference
        return
    found = _recent.get(body)
    if found is None:
        if len(body) >= _IN_THREAD_BYTES:
            found = await asyncio.to_thread(_gzip, body)
        else:
            found = _gzip(body)
        _recent[body] = found
        while len(_recent) > _KEPT:
            _recent.popitem(last=False)
    else:
        _recent.move_to_end(body)
    response.body = found
    response.headers["Content-Encoding"] = "gzip"
    response.headers.add("Vary", "Accept-Encoding")


def _gzip(body: bytes) -> bytes:
    from isal import igzip  # costs start-up time and only large answers need it

    compressed: bytes = igzip.compress(body, _LEVEL)
    return compressed
