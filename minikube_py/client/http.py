"""The client over HTTP: agents, tools and tests.

One ``HttpClient`` is one connection pool with one identity (client certificate or bearer token).
Every failed request raises ``ApiError``: what the server said, or ``ServiceUnavailable`` when it
could not be reached or broke off. Nothing is sent twice by itself, except that a request answered
with 429 and ``Retry-After`` is repeated a few times, as client-go does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import orjson

from minikube_py.client.clock import SystemClock
from minikube_py.client.informer import InformerPool
from minikube_py.client.kubeconfig import load_kubeconfig
from minikube_py.client.tls import connection_context, files_context
from minikube_py.client.types import (
    NO_DELETE_OPTIONS,
    NO_WRITE_OPTIONS,
    DeleteOptions,
    EventType,
    Informer,
    ObjectList,
    PatchType,
    WatchEvent,
    WriteOptions,
)
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, from_status, service_unavailable
from minikube_py.machinery.objects import Object, metadata, name_of, namespace_of
from minikube_py.machinery.resources import Resource

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

request_timeout_seconds = 60.0
connect_timeout_seconds = 10.0
watch_silence_seconds = 120.0
"""A watch that is silent for so long (no event, no bookmark) is taken for broken and resumed."""
throttled_attempts = 5
longest_retry_after_seconds = 30.0
longest_event_bytes = 64 * 1024 * 1024


class HttpClient:
    """Implements ``client.types.Client``; use it as an async context manager."""

    def __init__(
        self,
        base_url: str,
        *,
        ca_file: str | Path = "",
        cert_file: str | Path = "",
        key_file: str | Path = "",
        token: str | Callable[[], str] = "",
        insecure: bool = False,
        tls: Callable[[], ssl.SSLContext] | None = None,
        user_agent: str = "pyk3s",
        clock: Clock | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._make_tls = tls or partial(files_context, str(ca_file), str(cert_file), str(key_file), insecure=insecure)
        self._token = token
        self._user_agent = user_agent
        self._clock = clock or SystemClock()
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | bool = True
        self._pool = InformerPool(self, self._clock)

    async def __aenter__(self) -> HttpClient:
        import aiohttp

        await self._load_credentials()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=request_timeout_seconds, connect=connect_timeout_seconds),
            headers={"User-Agent": self._user_agent, "Accept": "application/json"},
            read_bufsize=2**18,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def reload_credentials(self) -> None:
        """Show the certificate, and trust the CAs, that the files hold now, from the next request on.

        Requests and watches under way go on. Raises OSError, and then nothing has changed.
        A client of ``kubeconfig_client`` goes on with what it has read.
        """
        await self._load_credentials()

    async def _load_credentials(self) -> None:
        if self.base_url.startswith("https:"):
            self._tls = await asyncio.to_thread(self._make_tls)

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        return await self._request("GET", resource.path(namespace, name, subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            resourceVersion=resource_version,
            limit=str(limit) if limit else "",
            **{"continue": continue_token},
        )
        body = await self._request("GET", resource.path(namespace), query)
        meta = metadata(body)
        items = body.get("items") or []
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        remaining = meta.get("remainingItemCount")
        return ObjectList(items, str(meta.get("resourceVersion", "")), str(meta.get("continue") or ""), remaining)

    async def create(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        path = resource.path(namespace or namespace_of(obj) or None, name, subresource)
        return await self._request("POST", path, _write_query(options), obj)

    async def update(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        path = resource.path(namespace or namespace_of(obj) or None, name_of(obj), subresource)
        return await self._request("PUT", path, _write_query(options), obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        query = _write_query(options)
        if options.force:
            query["force"] = "true"
        path = resource.path(namespace, name, subresource)
        return await self._request("PATCH", path, query, patch, content_type=patch_type.value)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> Object:
        return await self._request("DELETE", resource.path(namespace, name), None, _delete_body(options))

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> None:
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        await self._request("DELETE", resource.path(namespace), query, _delete_body(options))

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        import aiohttp

        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_seconds, sock_read=watch_silence_seconds)
        try:
            async with self._open().request(
                "GET",
                self.base_url + resource.path(namespace),
                params=query,
                headers=await self._headers(),
                timeout=timeout,
                ssl=self._tls,
            ) as response:
                if response.status != 200:
                    raise _error(response.status, response.headers, await response.read())
                yield _events(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(self.base_url, error) from error

    def informer(
        self, resource: Resource, namespace: str | None = None, *, field_selector: str = "", label_selector: str = ""
    ) -> Informer:
        return self._pool.informer(resource, namespace, field_selector=field_selector, label_selector=label_selector)

    async def raw(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> bytes:
        """The body of any path (``/version``, ``/readyz``, a pod's log). Raises ApiError."""
        _, _, body = await self._exchange(method, path, query, None, "application/json")
        return body

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
        *,
        content_type: str = "application/json",
    ) -> Object:
        data = None if body is None else orjson.dumps(body)
        _, _, answer = await self._exchange(method, path, query, data, content_type)
        try:
            parsed: Object = orjson.loads(answer)
        except orjson.JSONDecodeError as error:  # somebody between here and the server
            raise service_unavailable(f"{self.base_url} answered {path} with something that is no JSON") from error
        return parsed

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, str] | None, data: bytes | None, content_type: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        for attempt in range(throttled_attempts):
            code, headers, answer = await self._once(method, path, query, data, content_type)
            if code < 300:
                return code, headers, answer
            error = _error(code, headers, answer)
            wait = headers.get("Retry-After", "")
            if code != 429 or not wait.isdigit() or attempt + 1 == throttled_attempts:
                raise error
            await self._clock.sleep(min(float(wait), longest_retry_after_seconds))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(
        self, method: str, path: str, query: Mapping[str, str] | None, data: bytes | None, content_type: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        import aiohttp

        headers = await self._headers()
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            async with self._open().request(
                method, self.base_url + path, params=query, data=data, headers=headers, ssl=self._tls
            ) as response:
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(self.base_url, error) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise service_unavailable("the client is closed")
        return self._session

    async def _headers(self) -> dict[str, str]:
        token = await asyncio.to_thread(self._token) if callable(self._token) else self._token
        return {"Authorization": f"Bearer {token}"} if token else {}


async def kubeconfig_client(path: Path, context: str = "", *, clock: Clock | None = None) -> HttpClient:
    """A client for a kubeconfig file; raises KubeconfigError. Key material never touches the disk."""
    connection = await asyncio.to_thread(load_kubeconfig, path, context)
    tls = partial(connection_context, connection)
    return HttpClient(connection.server, token=connection.token, tls=tls, clock=clock)


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[WatchEvent]:
    """Watch events of a response body: one JSON document a line, of any length."""
    pending = bytearray()
    async for chunk in stream.iter_any():
        pending += chunk
        if len(pending) > longest_event_bytes:
            raise service_unavailable("watch event is too long")
        if b"\n" not in chunk:
            continue
        lines = bytes(pending).split(b"\n")
        pending = bytearray(lines.pop())
        for line in lines:
            if line.strip():
                yield _event(line)


def _event(line: bytes) -> WatchEvent:
    """Raises ApiError for what is no event: somebody between here and the server wrote it."""
    try:
        event = orjson.loads(line)
        return WatchEvent(EventType(event["type"]), event["object"])
    except (ValueError, KeyError, TypeError) as error:
        raise service_unavailable("a watch brought something that is no event") from error


def _query(**values: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def _write_query(options: WriteOptions) -> dict[str, str]:
    return _query(fieldManager=options.field_manager, dryRun="All" if options.dry_run else "")


def _delete_body(options: DeleteOptions) -> Object:
    body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if options.grace_period_seconds is not None:
        body["gracePeriodSeconds"] = options.grace_period_seconds
    if options.propagation_policy:
        body["propagationPolicy"] = options.propagation_policy
    guards = {"uid": options.precondition_uid, "resourceVersion": options.precondition_resource_version}
    if any(guards.values()):
        body["preconditions"] = {key: value for key, value in guards.items() if value}
    if options.dry_run:
        body["dryRun"] = ["All"]
    return body


def _error(code: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The server's Status, or one made of what came instead."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        error = from_status({**status, "code": status.get("code") or code})
    else:
        text = body[:500].decode(errors="replace").strip()
        error = ApiError(code, _REASONS.get(code, ""), text or f"the server answered with {code}")
    if "Retry-After" in headers:
        error.headers["Retry-After"] = headers["Retry-After"]
    return error


_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Gone",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def _unreachable(base_url: str, error: BaseException) -> ApiError:
    """What a user can do something with; aiohttp's own text shows an address of its SSL context."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    if isinstance(cause, ssl.SSLError):
        text = getattr(cause, "verify_message", "") or cause.reason or str(cause)
    elif isinstance(cause, OSError) and cause.errno is not None:
        text = os.strerror(cause.errno) if cause.errno > 0 else cause.strerror  # negative ones are getaddrinfo's
    else:
        text = str(cause) or type(cause).__name__
    return service_unavailable(f"cannot reach {base_url}: {text}")
