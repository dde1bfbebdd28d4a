"""GET of one stored object, answered in the moment its bytes arrive, without a request object and without a task.

Most requests of a cluster are these. ``QuickGets.answer`` takes the bytes of a whole request and gives the bytes of
the whole answer, or None: then the request takes the ordinary way (``face``), which is the only one that refuses,
waits, audits, negotiates or reports errors. So whatever is unusual in any way is declined here: other methods,
queries, encoded paths, headers out of the list below, objects that do not exist, credentials or decisions that have
to be waited for, no free seat. Authentication, authorization, flow control and metrics are the same objects as on
the ordinary way and are asked for every request; only the reading of request lines and headers is remembered, by
their exact bytes.

``boundary`` tells for a connection whether the next bytes begin a request; only then may they be looked at.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from minikube_py.components.apiserver.aggregation.aggregator import Aggregator
from minikube_py.components.apiserver.authentication.bearer import bearer_token
from minikube_py.components.apiserver.flowcontrol.control import Flow, FlowControl
from minikube_py.components.apiserver.http.dispatch import DEPRECATED
from minikube_py.components.apiserver.http.metrics import RequestMetrics, RequestSeries, system_client
from minikube_py.components.apiserver.http.negotiation import negotiate
from minikube_py.components.apiserver.http.request_info import parse_request
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.kinds import is_virtual
from minikube_py.components.apiserver.registry.versions import converter_of
from minikube_py.components.apiserver.storage.cache import WatchCache
from minikube_py.components.apiserver.types import Attributes, Authenticator, Authorizer, Credentials, Decision
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError

MOST_BYTES = 4096
"""Requests with larger heads are declined (and not remembered)."""
_MOST_REMEMBERED = 4096
_LARGEST_OBJECT = 64 * 1024
_PATIENCE_SECONDS = 1.0
"""After a decision that had to be waited for, a client's requests go the ordinary way for so long."""

_LINE = re.compile(rb"GET (/apis?/[A-Za-z0-9._/-]{1,1024}) HTTP/1\.1")
_HEADER = re.compile(rb"([A-Za-z-]{1,40}):[ \t]*([\x20-\x7e]*)")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*(?=\r\n|$)")
_KNOWN_HEADERS = frozenset(
    {b"host", b"user-agent", b"accept", b"accept-encoding", b"authorization", b"connection", b"content-type"}
)


@dataclass(frozen=True, slots=True)
class _Route:
    """What a request line asks for."""

    attributes: Attributes
    cache: WatchCache
    namespace: str
    name: str
    series: RequestSeries


@dataclass(slots=True)
class _Client:
    """What the header lines say."""

    token: str
    counted: tuple[int, str] = (200, "")
    """Status and system client, as answered requests are counted."""
    patient_until: float = 0.0


class _MustWaitError(Exception):
    """A decision needs the event loop."""


class QuickGets:
    """See the module. ``flow`` may be None, then there are no seats."""

    def __init__(
        self,
        core: Core,
        authenticator: Authenticator,
        authorizer: Authorizer,
        flow: FlowControl | None,
        metrics: RequestMetrics,
        clock: Clock,
        aggregator: Aggregator | None = None,
    ) -> None:
        self._core = core
        self._aggregator = aggregator
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._flow = flow
        self._metrics = metrics
        self._identity = metrics.identity
        self._clock = clock
        self._routes: dict[bytes, _Route | None] = {}
        self._clients: dict[bytes, _Client | None] = {}
        self._flow_heads: dict[tuple[str, str], bytes] = {}
        self._date = (0, b"")
        core.kinds.on_change(self._routes.clear)
        if aggregator is not None:
            aggregator.on_change(self._routes.clear)

    def answer(self, data: bytes, certificate: bytes) -> bytes | None:
        """The whole answer to ``data``, which begins a request; None when it must take the ordinary way."""
        if len(data) > MOST_BYTES or data[:8] != b"GET /api" or data.find(b"\r\n\r\n") != len(data) - 4:
            return None
        line, _, rest = data.partition(b"\r\n")
        route, client = self._route(line), self._client(rest)
        if route is None or client is None:
            return None
        entry = route.cache.get(route.namespace, route.name)
        begin = self._clock.monotonic()
        if entry is None or len(entry.item) > _LARGEST_OBJECT or begin < client.patient_until:
            return None
        credentials = Credentials(client.token, certificate, {}, route.attributes.path)
        try:
            user = _completed(self._authenticator.authenticate(credentials))
            if user is None:
                return None
            identified = self._clock.monotonic()
            decision, _ = _completed(self._authorizer.authorize(user, route.attributes))
        except _MustWaitError:
            client.patient_until = begin + _PATIENCE_SECONDS
            return None
        except Exception:  # the ordinary way meets the same error and tells it
            return None
        if decision is not Decision.ALLOW:
            return None
        authorized = self._clock.monotonic()
        flow, flow_head = None, b""
        if self._flow is not None:
            flow = self._flow.classify(user, route.attributes)
        if self._flow is not None and flow is not None:
            admitted, seat = self._flow.try_enter(flow, 1)
            if not admitted:
                return None
            if seat is not None:
                self._flow.leave(seat)
            flow_head = self._flow_head(flow)
        body = entry.served
        identity, series = self._identity, route.series
        identity.known(user.name)
        identity.succeeded(identified - begin)
        identity.allowed(authorized - identified)
        series.finished(client.counted, self._clock.monotonic() - begin)
        series.sizes.observe(len(body))
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nAudit-Id: %b\r\n"
            b"Cache-Control: no-cache, private\r\n%bContent-Length: %d\r\nDate: %b\r\n\r\n%b"
            % (secrets.token_hex(16).encode(), flow_head, len(body), self._date_text(), body)
        )

    def _route(self, line: bytes) -> _Route | None:
        try:
            return self._routes[line]
        except KeyError:
            found = self._read_line(line)
        if len(self._routes) >= _MOST_REMEMBERED:
            self._routes.clear()
        self._routes[line] = found
        return found

    def _read_line(self, line: bytes) -> _Route | None:
        matched = _LINE.fullmatch(line)
        if matched is None or b"//" in line or b"/." in line:
            return None
        info = parse_request("GET", matched[1].decode())
        if info.verb != "get" or not info.resource_request or info.subresource or not info.name:
            return None
        if self._aggregator is not None and self._aggregator.backend(info) is not None:
            return None
        kind = self._core.kinds.get(info.group, info.version, info.resource)
        if kind is None or is_virtual(kind) or "get" not in kind.verbs:
            return None
        if kind.storage is not None or kind.from_storage is not None or converter_of(kind) is not None:
            return None  # another version is stored
        if (info.group, info.version, info.resource) in DEPRECATED:
            return None
        namespaced = kind.resource.namespaced
        if namespaced != bool(info.namespace) and info.resource != "namespaces":
            return None
        labels = ("GET", "", info.group, info.version, info.resource, "", "resource")
        namespace = info.namespace if namespaced else ""
        return _Route(info.attributes(), self._core.cache(kind), namespace, info.name, self._metrics.series(labels))

    def _client(self, rest: bytes) -> _Client | None:
        try:
            return self._clients[rest]
        except KeyError:
            found = _read_headers(rest)
        if len(self._clients) >= _MOST_REMEMBERED:
            self._clients.clear()
        self._clients[rest] = found
        return found

    def _flow_head(self, flow: Flow) -> bytes:
        """The lines of a flow's headers."""
        key = (flow.schema.uid, flow.level.limits.uid)
        if not key[0]:
            return b""
        found = self._flow_heads.get(key)
        if found is None:
            found = "".join(f"{name}: {value}\r\n" for name, value in flow.headers.items()).encode()
            if len(self._flow_heads) >= _MOST_REMEMBERED:
                self._flow_heads.clear()
            self._flow_heads[key] = found
        return found

    def _date_text(self) -> bytes:
        now = int(self._clock.now())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode())
        return self._date[1]


def _read_headers(rest: bytes) -> _Client | None:
    """The header lines of a request; None when there is anything among them that this way does not know."""
    found: dict[bytes, str] = {}
    for line in rest[:-4].split(b"\r\n"):
        matched = _HEADER.fullmatch(line)
        name = matched[1].lower() if matched is not None else b""
        if matched is None or name not in _KNOWN_HEADERS or name in found:
            return None
        found[name] = matched[2].decode().strip()
    if b"host" not in found or found.get(b"connection", "keep-alive").lower() != "keep-alive":
        return None
    try:
        form = negotiate(found.get(b"accept", ""), "", found.get(b"user-agent", ""))
    except ApiError:
        return None
    authorization = found.get(b"authorization", "")
    if not form.plain_json or (authorization and authorization[:7].lower() != "bearer "):
        return None
    return _Client(bearer_token(authorization), (200, system_client(found.get(b"user-agent", ""))))


def _completed(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing. Raises _MustWaitError (having closed it) when it would."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise _MustWaitError


def boundary(owed: int, data: bytes) -> int:
    """How many bytes of a request's body are still to come after ``data``; -1 when that is not known any more.

    ``owed`` is the last result (0 at the start), so 0 means that the next byte is the first of a request. Only what
    both this function and the real parser must understand alike is followed; the rest is -1 for good.
    """
    if owed < 0:
        return -1
    if owed > 0:
        return owed - len(data) if len(data) <= owed else -1
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return -1
    head = data[:end].lower()
    if b"transfer-encoding" in head or b"upgrade" in head or head.count(b"\n") != head.count(b"\r\n"):
        return -1
    length = 0
    named = head.count(b"content-length")
    if named:
        matched = _LENGTH.search(head)
        if named > 1 or matched is None:
            return -1
        length = int(matched[1])
    left = end + 4 + length - len(data)
    return left if left >= 0 else -1
