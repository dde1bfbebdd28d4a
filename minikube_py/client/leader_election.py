"""Leader election on a Lease (client-go's ``tools/leaderelection``).

At most one participant leads, as long as clocks run at the same speed: a leader that cannot renew
within ``renew_deadline`` stops leading, and others wait ``lease_duration`` after the last renewal
*they observed* before they take over, so wall clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from minikube_py.client.types import Client
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, resource_version_of, thaw
from minikube_py.machinery.resources import LEASES
from minikube_py.machinery.times import rfc3339_micro

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """Durations in seconds; Kubernetes' defaults. ``identity`` must be unique among participants."""

    name: str
    identity: str
    namespace: str = "kube-system"
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


class Election:
    """One participant."""

    def __init__(self, client: Client, clock: Clock, settings: ElectionSettings) -> None:
        self._client = client
        self._clock = clock
        self._settings = settings
        self._seen_version = ""
        self._seen_at = 0.0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for leadership, run ``lead`` while it lasts, and start over when it is lost; until cancelled.

        When ``lead`` ends or fails by itself the lease is given back and its outcome is this call's.
        """
        while True:
            await self._acquire()
            log.info("leading", extra={"lease": self._settings.name, "identity": self._settings.identity})
            leading = asyncio.ensure_future(lead())
            renewing = asyncio.ensure_future(self._renew())
            try:
                await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
                if leading.done():
                    leading.result()
                    return
                log.warning("leadership lost", extra={"lease": self._settings.name})
            finally:
                for task in (leading, renewing):
                    task.cancel()
                await asyncio.gather(leading, renewing, return_exceptions=True)
                await self._release()

    async def _acquire(self) -> None:
        while not await self._attempt():
            await self._clock.sleep(self._settings.retry_period * random.uniform(1.0, 2.2))

    async def _renew(self) -> None:
        """Return when leadership is lost."""
        last = self._clock.monotonic()
        while self._clock.monotonic() - last < self._settings.renew_deadline:
            await self._clock.sleep(self._settings.retry_period)
            if await self._attempt():
                last = self._clock.monotonic()

    async def _attempt(self) -> bool:
        """Try once to take or renew the lease."""
        try:
            return await self._take()
        except ApiError as error:
            if not (is_conflict(error) or is_already_exists(error)):
                log.warning("cannot reach lease", extra={"lease": self._settings.name, "error": str(error)})
            return False

    async def _take(self) -> bool:
        settings = self._settings
        stamp = rfc3339_micro(self._clock.now())
        try:
            lease = await self._client.get(LEASES, settings.name, settings.namespace)
        except ApiError as error:
            if not is_not_found(error):
                raise
            await self._client.create(LEASES, self._fresh(stamp), settings.namespace)
            return True
        if resource_version_of(lease) != self._seen_version:
            self._seen_version, self._seen_at = resource_version_of(lease), self._clock.monotonic()
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        duration = float(spec.get("leaseDurationSeconds") or settings.lease_duration)
        if holder not in ("", settings.identity) and self._clock.monotonic() - self._seen_at < duration:
            return False
        draft = thaw(lease)
        draft["spec"] = {**spec, **_holding(settings, stamp)}
        if holder != settings.identity:
            draft["spec"]["acquireTime"] = stamp
            draft["spec"]["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        await self._client.update(LEASES, draft, settings.namespace)
        return True

    def _fresh(self, stamp: str) -> Object:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.name, "namespace": self._settings.namespace},
            "spec": {**_holding(self._settings, stamp), "acquireTime": stamp, "leaseTransitions": 0},
        }

    async def _release(self) -> None:
        """Let another one lead at once (client-go's ReleaseOnCancel); failing to is harmless."""
        settings = self._settings
        try:
            lease = await self._client.get(LEASES, settings.name, settings.namespace)
            if (lease.get("spec") or {}).get("holderIdentity") != settings.identity:
                return
            draft = thaw(lease)
            draft["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._client.update(LEASES, draft, settings.namespace)
        except ApiError as error:
            log.debug("lease not released", extra={"lease": settings.name, "error": str(error)})


def _holding(settings: ElectionSettings, stamp: str) -> Object:
    return {
        "holderIdentity": settings.identity,
        "leaseDurationSeconds": int(settings.lease_duration),
        "renewTime": stamp,
    }
