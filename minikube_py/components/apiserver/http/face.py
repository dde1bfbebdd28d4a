"""The catch-all handler and its filters.

Outermost first: request id and panic barrier, timeout, authentication, audit, impersonation, flow control,
authorization, then the dispatcher. Every failure becomes a ``Status``. Writes run to their end even when the client
goes away, so that what was stored and what was reserved for it stay in step; reads and watches are
cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from minikube_py.components.apiserver.audit.auditor import Auditor
from minikube_py.components.apiserver.authentication.bearer import token_of
from minikube_py.components.apiserver.flowcontrol.control import RETRY_AFTER_SECONDS, Flow, FlowControl, TooManyRequests
from minikube_py.components.apiserver.flowcontrol.width import seats_of
from minikube_py.components.apiserver.http import auditing
from minikube_py.components.apiserver.http.call import (
    Call,
    Exchange,
    Response,
    answer_bytes,
    answer_object,
    answer_text,
)
from minikube_py.components.apiserver.http.compression import compress
from minikube_py.components.apiserver.http.deadlines import Deadlines
from minikube_py.components.apiserver.http.discovery import method_not_allowed
from minikube_py.components.apiserver.http.dispatch import Dispatcher
from minikube_py.components.apiserver.http.metrics import (
    MUTATING,
    READ_ONLY,
    RequestMetrics,
    field_validation,
    system_client,
)
from minikube_py.components.apiserver.http.negotiation import PROTOBUF, error_form
from minikube_py.components.apiserver.http.options import request_timeout
from minikube_py.components.apiserver.http.request_info import WRITES, RequestInfo, parse_request
from minikube_py.components.apiserver.http.unusual import answer_to_unusual, target_of
from minikube_py.components.apiserver.http.warnings import add_warnings
from minikube_py.components.apiserver.metrics.admission import elsewhere
from minikube_py.components.apiserver.types import (
    ANONYMOUS,
    Attributes,
    Authenticator,
    Authorizer,
    Credentials,
    Decision,
    Headers,
    UserInfo,
)
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, forbidden, go_quote, internal, timeout, unauthorized

log = logging.getLogger(__name__)

LONGEST_SECONDS = 60.0
Impersonate = Callable[[UserInfo, Headers, Authorizer, Attributes], Awaitable[UserInfo]]
Denied = Callable[[UserInfo, Attributes, str], ApiError]
_QUEUE_PART = 4
"""A request may spend this part of its time (a quarter) in a queue; then it is refused."""


def denied_plainly(user: UserInfo, attributes: Attributes, reason: str) -> ApiError:
    """403 without Kubernetes' sentence, for servers that are composed without the security packages."""
    return forbidden(attributes.group, attributes.resource, attributes.name, reason or f"user {user.name}")


def speaks_protobuf(call: Call) -> bool:
    """Whether a request has a protobuf body, or asks for such an answer."""
    return PROTOBUF in call.accept or PROTOBUF in call.content_type


def load_protobuf() -> None:
    """Import the codec, which most servers never need, and read its tables. Blocks."""
    from minikube_py.machinery.protobuf import load

    load()


class Face:
    """Answers requests of aiohttp's low-level server."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        authorizer: Authorizer,
        clock: Clock,
        metrics: RequestMetrics,
        *,
        impersonate: Impersonate | None = None,
        denied: Denied = denied_plainly,
        flow: FlowControl | None = None,
        auditor: Auditor | None = None,
        public: Mapping[str, Callable[[], bytes]] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._clock = clock
        self._metrics = metrics
        self._impersonate = impersonate
        self._denied = denied
        self._flow = flow
        self._auditor = auditor
        self._public = dict(public or {})
        self._has_protobuf = False
        """Whether the tables of the protobuf codec are loaded; written by the first request that needs them."""
        self._writes: set[asyncio.Task[Any]] = set()
        """Writes that have a task besides their request's own; the others are watched."""
        self._deadlines = Deadlines()

    async def __call__(self, request: web.BaseRequest) -> Response:
        """The answer to one request; never raises, except when the request is cancelled."""
        return answer_to_unusual(request) or await self._counted(request, None, None)

    async def write(self, request: web.BaseRequest, body: bytes, exchange: Exchange) -> None:
        """Answer a write, with its whole body, in a task of its own that nobody cancels; it needs no further task.

        When it takes too long the exchange is given up, and the write goes on. Raises what ``exchange.send`` does.
        """
        await self._counted(request, body, exchange)

    async def _counted(self, request: web.BaseRequest, body: bytes | None, exchange: Exchange | None) -> Response:
        begin = self._clock.monotonic()
        info = parse_request(request.method, target_of(request))
        in_flight, sort = self._metrics.in_flight, MUTATING if info.verb in WRITES else READ_ONLY
        if not info.long_running:
            in_flight[sort] += 1
        try:
            return await self._answer(_call(request, info, body, exchange, self._metrics), begin)
        finally:
            if not info.long_running:
                in_flight[sort] -= 1

    async def _answer(self, call: Call, begin: float) -> Response:
        response = await self._whatever_happens(call)
        if call.audit is not None and self._auditor is not None:
            await auditing.end(self._auditor, call, response)
        if not response.prepared:
            await self._finish(call, response)
        try:
            if call.exchange is not None:
                await call.exchange.send(call.request, response)
        finally:  # after the answer: the client need not wait for what it does not see
            self._count(call, response, self._clock.monotonic() - begin)
        return response

    async def _whatever_happens(self, call: Call) -> Response:
        """The answer, be it that of a failure; only a client that is gone gets none (the panic barrier)."""
        try:
            if not self._has_protobuf and speaks_protobuf(call):
                await asyncio.to_thread(load_protobuf)
                self._has_protobuf = True
            return await self._timed(call)
        except ApiError as error:
            return _error_answer(call, error)
        except TooManyRequests:
            response = answer_text("Too many requests, please try again later.\n", 429)
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            response.headers["X-Content-Type-Options"] = "nosniff"
            return response
        except (ConnectionError, asyncio.CancelledError):
            if self._auditor is not None:
                auditing.abandon(self._auditor, call)
            raise
        except Exception as error:
            info = call.info
            log.exception("request failed", extra={"method": info.method, "path": info.path, "id": call.request_id})
            if self._auditor is not None:
                await auditing.panic(self._auditor, call, repr(error))
                call.audit = None
            text = f'This request caused apiserver to panic. Look in the logs for details: "{call.request_id}"'
            return _error_answer(call, internal(text))

    def _count(self, call: Call, response: Response, seconds: float) -> None:
        """The answered request goes into the metrics."""
        info, metrics = call.info, self._metrics
        verb = _metric_verb(info, call.request)
        series = metrics.series(_labels(info, verb))
        key = (response.status, system_client(call.user_agent))
        if info.long_running:
            series.codes[key] = series.codes.get(key, 0) + 1
            return
        series.finished(key, seconds)
        if call.waited:
            series.spent_elsewhere(seconds, call.waited[0])
        if not info.resource_request:
            return
        if verb in ("GET", "LIST") and isinstance(response, web.Response):
            series.sizes.observe(response.content_length or 0)
        elif verb in ("POST", "PUT", "PATCH", "APPLY"):
            metrics.field_validation.observe((field_validation(info.query),), seconds)
        if call.body and response.status < _FAILED:
            metrics.body_bytes.observe((info.group, info.resource, info.verb), len(call.body))
        if call.deprecated:
            metrics.deprecated.set((info.group, info.version, info.resource, info.subresource, ""), 1)

    async def drain(self) -> None:
        """Wait for the writes that are on their way."""
        if pending := [*self._writes, *self._deadlines.tasks]:
            await asyncio.wait(pending)

    async def _timed(self, call: Call) -> Response:
        if call.info.long_running:
            with self._metrics.running(_gauge_labels(call)):
                return await self._guarded(call)
        seconds = request_timeout(call.query, LONGEST_SECONDS)
        if call.exchange is not None:
            return await self._watched(call, seconds, call.exchange)
        try:
            async with asyncio.timeout(seconds):
                return await self._guarded(call)
        except TimeoutError as error:
            raise _overdue() from error

    async def _watched(self, call: Call, seconds: float, exchange: Exchange) -> Response:
        """A write in a task of its own: when its time is over the client is told, and the write goes on."""
        task = call.request.task

        def over() -> None:
            call.overdue = True
            response = _error_answer(call, _overdue())
            _add_headers(call, response)
            exchange.give_up(response)

        self._deadlines.add(task, seconds, over)
        try:
            response = await self._guarded(call)
        finally:
            self._deadlines.discard(task)
        if call.overdue:
            raise _overdue()
        return response

    async def _guarded(self, call: Call) -> Response:
        if call.info.malformed:
            return _malformed(call)
        if call.info.path in self._public and call.info.method == "GET":  # whoever asks, and knows nobody yet
            return answer_bytes(self._public[call.info.path](), media_type="text/plain")
        attributes = call.info.attributes()
        user = await self._identify(call, attributes)
        filters = self._metrics.identity.filters
        if self._auditor is not None:
            begin = self._clock.monotonic()
            await auditing.begin(self._auditor, call, user, attributes)
            filters.observe(_AUDIT, self._clock.monotonic() - begin)
        if self._impersonate is not None and _impersonates(call):
            headers = [(name, value) for name, value in call.request.headers.items()]
            begin = self._clock.monotonic()
            user = await self._impersonate(user, headers, self._authorizer, attributes)
            filters.observe(_IMPERSONATION, self._clock.monotonic() - begin)
        call.user = user
        control = self._flow
        if control is None or (call.info.long_running and call.info.verb != "watch"):
            return await self._authorized(call, user, attributes)
        flow = control.classify(user, attributes)
        if flow is None:
            return await self._authorized(call, user, attributes)
        call.flow = flow
        return await self._seated(control, flow, call, user, attributes)

    async def _seated(
        self, control: FlowControl, flow: Flow, call: Call, user: UserInfo, attributes: Attributes
    ) -> Response:
        """Serve the request when it has got its seats. A watch holds them for its beginning alone."""
        info = call.info
        seats = seats_of(info.verb, info.name, info.query.get("limit", ""), lambda: self._dispatcher.stored(info))
        sort, begin = MUTATING if info.verb in WRITES else READ_ONLY, self._clock.monotonic()
        waiting = self._metrics.in_queue
        waiting[sort] += 1
        try:
            seat = await control.enter(flow, seats, request_timeout(call.query, LONGEST_SECONDS) / _QUEUE_PART)
        finally:
            waiting[sort] -= 1
        seconds = self._clock.monotonic() - begin
        self._metrics.identity.filters.observe(_FLOW_CONTROL, seconds)
        if seconds > _NOTED_WAIT:
            call.waited.append(seconds)
        if seat is None:
            return await self._authorized(call, user, attributes)
        if info.verb == "watch":
            control.leave(seat)
            return await self._authorized(call, user, attributes)
        try:
            return await self._authorized(call, user, attributes)
        finally:
            control.leave(seat)

    async def _authorized(self, call: Call, user: UserInfo, attributes: Attributes) -> Response:
        begin, identity = self._clock.monotonic(), self._metrics.identity
        try:
            decision, reason = await self._authorizer.authorize(user, attributes)
        except ApiError:
            identity.authorizations.took("error", self._clock.monotonic() - begin)
            raise
        identity.authorizations.took(_RESULTS[decision], self._clock.monotonic() - begin)
        if call.audit is not None:
            auditing.note_decision(call, user, allowed=decision is Decision.ALLOW, reason=reason)
        if decision is not Decision.ALLOW:
            raise self._denied(user, attributes, reason)
        if call.info.resource_request and call.info.method not in _METHODS and not call.info.only_proxied:
            raise method_not_allowed()
        if call.exchange is not None:
            if call.overdue:
                raise _overdue()
            elsewhere.set(_waited(call))
        elif call.info.verb in WRITES and not call.info.long_running:
            return await self._to_its_end(call)
        return await self._dispatcher.answer(call)

    async def _to_its_end(self, call: Call) -> Response:
        elsewhere.set(_waited(call))
        task = asyncio.create_task(self._dispatcher.answer(call), name="api-write")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _identify(self, call: Call, attributes: Attributes) -> UserInfo:
        request = call.request
        exchange = call.exchange
        token, certificate = "", exchange.peer_certificate if exchange else peer_certificate(request.transport)
        begin, identity = self._clock.monotonic(), self._metrics.identity
        try:
            token = token_of(request.headers)
            chain = partial(peer_chain, request.transport) if certificate else tuple
            credentials = Credentials(token, certificate, request.headers, call.info.path, chain)
            user = await self._authenticator.authenticate(credentials)
            if user is None:
                raise unauthorized()
            identity.succeeded(self._clock.monotonic() - begin)
            identity.known(user.name)
        except ApiError:
            result = "error" if token or certificate else "failure"
            identity.authentications.took(result, self._clock.monotonic() - begin)
            if self._auditor is not None:
                await auditing.refuse(self._auditor, call, attributes)
            raise
        return user

    async def _finish(self, call: Call, response: Response) -> None:
        _add_headers(call, response)
        if isinstance(response, web.Response):
            await compress(call.request, response)


def _call(
    request: web.BaseRequest, info: RequestInfo, body: bytes | None, exchange: Exchange | None, metrics: RequestMetrics
) -> Call:
    """A request before it is known who sent it."""
    headers = request.headers
    return Call(
        request,
        info,
        ANONYMOUS,
        headers.get("Audit-Id") or os.urandom(16).hex(),
        user_agent=headers.get("User-Agent", ""),
        accept=headers.get("Accept", ""),
        content_type=headers.get("Content-Type", ""),
        body=body,
        metrics=metrics,
        exchange=exchange,
    )


def _add_headers(call: Call, response: Response) -> None:
    headers = response.headers
    headers["Audit-Id"] = call.request_id
    headers.setdefault("Cache-Control", "no-cache, private")
    if call.flow is not None and call.flow.schema.uid:
        headers.update(call.flow.headers)
    if call.warnings:
        add_warnings(headers, call.warnings)


def _impersonates(call: Call) -> bool:
    """Whether headers ask for that; a write that came whole has none of them (see ``whole_requests``)."""
    return call.exchange is None and any(name[:12].lower() == "impersonate-" for name in call.request.headers)


def _overdue() -> ApiError:
    return timeout("Timeout: request did not complete within the allotted timeout", 0)


def _waited(call: Call) -> list[float]:
    """Where webhooks add the seconds that they take."""
    if not call.waited:
        call.waited.append(0.0)
    return call.waited


def peer_certificate(transport: asyncio.BaseTransport | None) -> bytes:
    """The client certificate of a connection, as TLS has verified it; empty for none."""
    tls = transport.get_extra_info("ssl_object") if transport else None
    return (tls.getpeercert(True) if tls is not None else None) or b""


def peer_chain(transport: asyncio.BaseTransport | None) -> Sequence[bytes]:
    """The CAs over which TLS verified the client certificate of a connection, as DER, the issuer first.

    ``ssl`` has this in public from Python 3.13 on. A session that was taken up again has none.
    """
    tls = transport.get_extra_info("ssl_object") if transport else None
    verified = getattr(getattr(tls, "_sslobj", None), "get_verified_chain", None)
    found = verified() if verified is not None else None
    return [one.public_bytes(_DER) for one in (found or ())[1:]]


_DER = 2
"""``_ssl.ENCODING_DER``."""
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


_AUDIT, _IMPERSONATION, _FLOW_CONTROL = ("audit",), ("impersonation",), ("priorityandfairness",)
_RESULTS = {Decision.ALLOW: "allowed", Decision.DENY: "denied", Decision.NO_OPINION: "no-opinion"}
_FAILED = 400
_HTML = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_NOTED_WAIT = 0.001
"""Seconds in a queue that are told apart from the request's own time; less is no wait but the way in."""
_CONNECTS = frozenset({"log", "exec", "portforward", "attach", "proxy"})


def _labels(info: RequestInfo, verb: str) -> tuple[str, ...]:
    if not info.resource_request:
        return (verb, "", "", "", "", "", "")
    dry_run = ""
    if "dryRun" in info.query:
        dry_run = "All" if info.query["dryRun"] == "All" else "invalid"
    return (verb, dry_run, info.group, info.version, info.resource, info.subresource, _scope(info))


def _gauge_labels(call: Call) -> tuple[str, ...]:
    info = call.info
    verb = _metric_verb(info, call.request)
    return (verb, info.group, info.version, info.resource, info.subresource, _scope(info))


_METRIC_VERBS: Mapping[str, str] = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
}
_VERBS = frozenset({*_METRIC_VERBS.values(), "GET", "LIST", "WATCH", "PROXY"})
_APPLY = "application/apply-patch+yaml"


def _metric_verb(info: RequestInfo, request: web.BaseRequest) -> str:
    """``CleanVerb``: what cannot be a verb of Kubernetes is called other."""
    if info.resource_request and info.subresource in _CONNECTS:
        return "CONNECT"
    if info.verb == "patch" and request.content_type == _APPLY:
        return "APPLY"
    verb = _METRIC_VERBS.get(info.verb) or info.verb.upper()
    return verb if verb in _VERBS else "other"


def _scope(info: RequestInfo) -> str:
    if not info.resource_request:
        return ""
    if info.name or info.verb == "create":
        return "resource"
    return "namespace" if info.namespace else "cluster"


def _malformed(call: Call) -> Response:
    """kube-apiserver's page for a path that it cannot understand (``responsewriters.InternalError``)."""
    shown = call.request.raw_path.translate(_HTML)
    text = f"failed to create RequestInfo: unable to determine kind and namespace from url, {shown}"
    response = answer_text(f"Internal Server Error: {go_quote(shown)}: {text}\n", 500)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _error_answer(call: Call, error: ApiError) -> Response:
    response = answer_object(error.status(), error_form(call.accept), status=error.code)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response
