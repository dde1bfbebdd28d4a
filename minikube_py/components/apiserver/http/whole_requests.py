"""Writes whose bytes come in one piece, made into requests without a stream for their body.

Most writes of a cluster are small: head and body arrive together. ``WholeRequests.read`` takes the bytes of such a
request and gives what the face needs to answer it, or None: then aiohttp's parser reads the bytes. The request is one
of aiohttp's like any other, and goes through the same face; only its reading, and the sending of a short answer
(``plain_answer``), are done here. What is unusual is declined: other methods, non-resource paths, streams, aggregated
APIs, encoded paths, headers out of the list below, bodies that are chunked or not yet complete. Header lines that were
read are remembered by their exact bytes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from minikube_py.components.apiserver.http.call import PIECE_BYTES
from minikube_py.components.apiserver.http.request_info import RequestInfo, parse_request

MOST_HEAD_BYTES = 8192
MOST_BYTES = 1024 * 1024
"""Far below the limit for bodies, which aiohttp's way applies."""
_MOST_REMEMBERED = 512
_METHODS = (b"POST", b"PUT ", b"PATC", b"DELE")
_LINE = re.compile(
    rb"(POST|PUT|PATCH|DELETE) (/apis?/[A-Za-z0-9._/-]{1,1024})(?:\?([A-Za-z0-9._=&-]{0,512}))? HTTP/1\.1"
)
_HEADER = re.compile(rb"([A-Za-z-]{1,40}):[ \t]*([\x20-\x7e]*)")
_LENGTH = re.compile(r"[0-9]{1,8}")
_KNOWN_HEADERS = frozenset(
    {
        "host", "user-agent", "accept", "accept-encoding", "authorization", "connection", "content-type",
        "content-length", "kubectl-command", "kubectl-session",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Headers:
    """What the header lines say. ``length`` is the body's."""

    fields: CIMultiDictProxy[str]
    raw: tuple[tuple[bytes, bytes], ...]
    length: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A request that was read, with its body."""

    message: RawRequestMessage
    body: bytes

    def request(self, connection: web.RequestHandler, task: asyncio.Task[None]) -> web.BaseRequest:
        """The request on its connection, answered in ``task``."""
        loop = task.get_loop()
        return web.BaseRequest(self.message, EMPTY_PAYLOAD, connection, StreamWriter(connection, loop), task, loop)


class WholeRequests:
    """See the module. ``elsewhere`` says whether a request is answered by another server (aggregation)."""

    def __init__(self, elsewhere: Callable[[RequestInfo], bool], now: Callable[[], float]) -> None:
        self._elsewhere = elsewhere
        self._now = now
        self._known: dict[bytes, _Headers | None] = {}

    def read(self, data: bytes) -> Whole | None:
        """The request whose bytes ``data`` are, all of them and nothing else; None when aiohttp must read it."""
        if data[:4] not in _METHODS or len(data) > MOST_BYTES:
            return None
        end = data.find(b"\r\n\r\n", 0, MOST_HEAD_BYTES)
        if end < 0:
            return None
        line, _, rest = data[:end].partition(b"\r\n")
        headers = self._headers(rest)
        if headers is None or end + 4 + headers.length != len(data):
            return None
        matched = _LINE.fullmatch(line)
        if matched is None or b"//" in line or b"/." in line:
            return None
        method, path = matched[1].decode(), matched[2].decode()
        query = matched[3].decode() if matched[3] is not None else None
        target = path if query is None else f"{path}?{query}"
        info = parse_request(method, target)
        if not info.resource_request or info.long_running or self._elsewhere(info):
            return None
        message = RawRequestMessage(
            method, target, HttpVersion11, headers.fields, headers.raw, False, None, False, False, _url(path, query)
        )
        return Whole(message, data[end + 4 :])

    def _headers(self, rest: bytes) -> _Headers | None:
        try:
            return self._known[rest]
        except KeyError:
            found = _read_headers(rest)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[rest] = found
        return found

    def plain_answer(self, response: web.StreamResponse) -> bytes | None:
        """The bytes of a short, complete answer that leaves the connection open; None for any other."""
        if not isinstance(response, web.Response) or response.prepared or response.keep_alive is False:
            return None
        body = response.body
        if type(body) is not bytes or len(body) > PIECE_BYTES or response.chunked or response.cookies:
            return None
        fields = [f"{name}: {value}\r\n" for name, value in response.headers.items() if name != "Content-Length"]
        head = "".join(fields)
        if head.count("\n") != len(fields) or head.count("\r") != len(fields):
            return None  # a line break within a value: aiohttp refuses it
        date = _date(int(self._now()))
        return (
            f"HTTP/1.1 {response.status} {response.reason}\r\n{head}Content-Length: {len(body)}\r\nDate: {date}\r\n\r\n"
        ).encode() + body


@lru_cache(maxsize=512)
def _url(path: str, query: str | None) -> URL:
    return URL.build(path=path, query_string=query or "", encoded=True)


@lru_cache(maxsize=2)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)


def _read_headers(rest: bytes) -> _Headers | None:
    """The header lines of a request; None when there is anything among them that this way does not know."""
    fields: CIMultiDict[str] = CIMultiDict()
    raw: list[tuple[bytes, bytes]] = []
    for line in rest.split(b"\r\n"):
        matched = _HEADER.fullmatch(line)
        if matched is None:
            return None
        name, value = matched[1].decode(), matched[2].strip()
        if name.lower() not in _KNOWN_HEADERS or name in fields:
            return None
        fields[name] = value.decode()
        raw.append((matched[1], value))
    length = fields.get("Content-Length", "0")
    if "Host" not in fields or not _LENGTH.fullmatch(length):
        return None
    if fields.get("Connection", "keep-alive").lower() != "keep-alive":
        return None
    return _Headers(CIMultiDictProxy(fields), tuple(raw), int(length))
