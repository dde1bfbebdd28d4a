"""Audit of requests that are made inside this process, which never pass the HTTP face.

In: what a component asks its local client for, as the request line that client-go would send. Out: the events that
kube-apiserver writes for the same request from outside: same policy, levels and stages, the component's user, its user
agent, 127.0.0.1 as its address, and what authorization would say.

Invariants: a request that was begun is ended exactly once; one that the policy leaves out costs one decision. Informers
are windows on the watch cache and ask for nothing again: each is one list and one watch, which ends with the server.
Without a policy there is no ``Journal`` and nothing here runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from minikube_py.components.apiserver.audit.auditor import Auditor, decided
from minikube_py.components.apiserver.audit.events import Body, Record
from minikube_py.components.apiserver.audit.policy import Level
from minikube_py.components.apiserver.http.request_info import parse_request
from minikube_py.components.apiserver.types import Attributes, Authorizer, Decision, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw

SOURCES = ("127.0.0.1",)
NOT_ASKED = "requests inside the server's process are not subject to authorization"
"""The reason of what the authorizers of this process would not have allowed, or could not say."""
_GONE = 499
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it would be sent: who, method, path with query. ``code`` is the status of its success."""

    user: UserInfo
    user_agent: str
    method: str
    uri: str
    code: int = 200

    def attributes(self) -> Attributes:
        return parse_request(self.method, self.uri).attributes()


@dataclass(frozen=True, slots=True)
class Opened:
    """An informer that a component began to read: the list and the watch that it stands for."""

    listing: Asked
    watching: Asked


class Journal:
    """See the module. ``explain`` says why a request would be allowed; None: nobody is asked.

    It must answer from memory (RBAC, Node): a component's request must not wait for a service that may need it.
    """

    def __init__(self, auditor: Auditor) -> None:
        self.auditor = auditor
        self.explain: Authorizer | None = None
        self._seen: set[tuple[str, str, str]] = set()
        self._opened: asyncio.Queue[Opened] = asyncio.Queue()
        """Bounded by the informers that the components of a process open; each is taken once."""

    async def run(self) -> None:
        """Write what gathers until cancelled; the watches of informers end then."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.auditor.run(), name="audit-backends")
            watches: list[Record] = []
            try:
                while True:
                    await self._follow(await self._opened.get(), watches)
            finally:
                for record in watches:
                    self.auditor.abandoned(record, 200)

    def opened(self, informer: Opened) -> None:
        """A component reads through an informer; what it opens again is the same window."""
        asked = informer.watching
        key = (asked.user.name, asked.user_agent, asked.uri)
        if key not in self._seen:
            self._seen.add(key)
            self._opened.put_nowait(informer)

    async def begin(self, asked: Asked, sent: object = None) -> Record | None:
        """The record of a request, None when the policy leaves it out. ``sent``: its body, which is not kept.

        Raises ApiError(500) when a strict log could not take its first event.
        """
        attributes = asked.attributes()
        record = await self.auditor.begin(
            os.urandom(16).hex(),
            asked.uri,
            asked.user,
            attributes,
            sources=SOURCES,
            user_agent=asked.user_agent,
        )
        if record is None:
            return None
        if sent is not None:
            shown = record.decision.level >= Level.REQUEST
            record.request = Body(obj=thaw(sent) if shown else sent)
        try:
            decided(record, allowed=True, reason=await self._reason(asked.user, attributes))
        except BaseException as error:
            await self.failed(record, error)
            raise
        return record

    async def recorded(
        self,
        asked: Asked,
        call: Callable[[dict[str, str] | None], Awaitable[_T]],
        *,
        sent: object = None,
        shown: Callable[[_T], Object],
    ) -> _T:
        """What ``call`` returns, with its events. It gets the annotations that admission adds to; None: nobody reads.

        ``shown`` makes the answer's object, where the policy shows it. Raises what ``call`` raises.
        """
        record = await self.begin(asked, sent)
        if record is None:
            return await call(None)
        try:
            answer = await call(record.annotations)
        except BaseException as error:
            await self.failed(record, error)
            raise
        wanted = record.decision.level >= Level.REQUEST_RESPONSE
        await self.auditor.finished(record, asked.code, Body(obj=shown(answer)) if wanted else None)
        return answer

    async def failed(self, record: Record, error: BaseException) -> None:
        """The last event of a request that was refused, given up by its caller, or could not be served."""
        if isinstance(error, ApiError):
            await self.auditor.finished(record, error.code, Body(obj=error.status()))
        elif isinstance(error, Exception):
            await self.auditor.panicked(record, repr(error))
        else:
            self.auditor.abandoned(record, _GONE)

    async def _reason(self, user: UserInfo, attributes: Attributes) -> str:
        if self.explain is None:
            return ""
        try:
            decision, reason = await self.explain.authorize(user, attributes)
        except ApiError:
            return NOT_ASKED
        return reason if decision is Decision.ALLOW else NOT_ASKED

    async def _follow(self, informer: Opened, watches: list[Record]) -> None:
        """The events of an informer's list, and of its watch's beginning."""
        try:
            listed = await self.begin(informer.listing)
            if listed is not None:
                await self.auditor.finished(listed, 200, None)
            watched = await self.begin(informer.watching)
            if watched is not None:
                watches.append(watched)
                await self.auditor.started(watched, 200)
        except ApiError:  # a strict log that cannot be written; it has said so
            return
