"""What the HTTP face calls: begin a request's record, and tell its stages.

``begin`` is cheap for requests that the policy leaves out. Invariant: a request that was begun is ended exactly
once, whatever became of it. In blocking mode the calls return when the event is written; a strict log whose first
event cannot be written refuses the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from prometheus_client import Counter

from minikube_py.components.apiserver.audit.batches import Batches, WriteFailed
from minikube_py.components.apiserver.audit.events import Body, Record, event, panic_event
from minikube_py.components.apiserver.audit.policy import Level, Policy
from minikube_py.components.apiserver.types import Attributes, UserInfo
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import internal
from minikube_py.machinery.objects import Object

_GONE = 499
DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"


class Auditor:
    """See the module. ``backends`` each get every event; ``run`` drives them."""

    def __init__(
        self, policy: Policy, backends: Sequence[Batches], clock: Clock, metrics: Mapping[str, Counter]
    ) -> None:
        self._policy = policy
        self._backends = backends
        self._clock = clock
        self._events = metrics["events"]
        self._rejected = metrics["rejected"]

    async def run(self) -> None:
        """Run the backends until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for backend in self._backends:
                tasks.create_task(backend.run())

    async def begin(
        self,
        audit_id: str,
        uri: str,
        user: UserInfo,
        attributes: Attributes,
        *,
        sources: Sequence[str],
        user_agent: str,
    ) -> Record | None:
        """The record of a request, None when the policy leaves it out.

        Raises ApiError(500) when a strict log could not take its first event.
        """
        decision = self._policy.decide(user, attributes)
        if decision.level is Level.NONE:
            return None
        record = Record(
            decision=decision,
            audit_id=audit_id,
            uri=uri,
            user=user,
            attributes=attributes,
            sources=sources,
            user_agent=user_agent,
            received=self._clock.now(),
        )
        try:
            await self._put(event(record, "RequestReceived", record.received), strict=True)
        except WriteFailed as error:
            self._rejected.inc()
            raise internal(f"failed to write the audit log: {error}") from error
        except asyncio.CancelledError:
            self.abandoned(record, _GONE)
            raise
        return record

    async def started(self, record: Record, code: int) -> None:
        """A long answer begins."""
        await self._put(event(record, "ResponseStarted", self._clock.now(), code=code))

    async def finished(self, record: Record, code: int, answer: Body | None) -> None:
        """The answer is complete, or as complete as it will be."""
        await self._put(event(record, "ResponseComplete", self._clock.now(), code=code, answer=answer))

    def abandoned(self, record: Record, code: int) -> None:
        """The client is gone; nobody waits for the event to be written."""
        self._send(event(record, "ResponseComplete", self._clock.now(), code=code))

    async def panicked(self, record: Record, text: str) -> None:
        """The server failed to serve the request."""
        await self._put(panic_event(record, self._clock.now(), text))

    async def refused(
        self, audit_id: str, uri: str, attributes: Attributes, *, sources: Sequence[str], user_agent: str, text: str
    ) -> None:
        """A request whose sender could not be authenticated: one event, without a user."""
        decision = self._policy.decide(_NOBODY, attributes)
        now = self._clock.now()
        record = Record(
            decision=decision,
            audit_id=audit_id,
            uri=uri,
            user=_NOBODY,
            attributes=attributes,
            sources=sources,
            user_agent=user_agent,
            received=now,
        )
        made = event(record, "ResponseStarted", now, code=401)
        if made is not None:
            made["user"] = {}
            made["responseStatus"] |= {"status": "Failure", "message": text, "reason": "Unauthorized"}
        await self._put(made)

    def _send(self, made: Object | None) -> list[tuple[Batches, asyncio.Future[None]]]:
        if made is None:
            return []
        self._events.inc()
        waiting = [(backend, backend.put(made)) for backend in self._backends]
        return [(backend, written) for backend, written in waiting if written is not None]

    async def _put(self, made: Object | None, *, strict: bool = False) -> None:
        for backend, written in self._send(made):
            if strict and backend.settings.strict:
                await written
            else:
                with suppress(WriteFailed):  # logged and counted by the backend
                    await written


_NOBODY = UserInfo("")


def decided(record: Record, allowed: bool, reason: str) -> None:
    """Note what authorization said."""
    record.annotations[DECISION] = "allow" if allowed else "forbid"
    record.annotations[REASON] = reason
