"""Deletes requests that have had their time (``certificatesigningrequest-cleaner-controller``).

An hour after a certificate was issued or the request denied or failed, a day after it was made when
nobody decided or nobody signed, and when its certificate has expired. Kubernetes looks once an hour;
here each request is looked at when its moment comes.
"""

from __future__ import annotations

import base64
import binascii

from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, name_of, uid_of
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS
from minikube_py.machinery.times import parse_time

decided_seconds = 3600.0
pending_seconds = 24 * 3600.0


class CleaningController:
    """The loop; keys are requests."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._requests = kit.client.informer(CERTIFICATE_SIGNING_REQUESTS)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="certificatesigningrequest-cleaner")

    async def run(self) -> None:
        """Run until cancelled."""
        name = "certificatesigningrequest-cleaner"
        await follow(self._kit, name, self._queue, self.reconcile, (self._requests, self._on_request), workers=1)

    def _on_request(self, type: EventType, request: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and not is_deleting(request):
            self._queue.add(name_of(request))

    async def reconcile(self, key: str) -> float | None:
        """Delete the request if its time is over; else the seconds until then."""
        request = self._requests.get(key)
        if request is None or is_deleting(request):
            return None
        moment = expiry(request)
        if moment is None:
            return None
        left = moment - self._kit.clock.now()
        if left >= 0:
            return max(left, 1.0)
        try:
            options = DeleteOptions(precondition_uid=uid_of(request))
            await self._kit.client.delete(CERTIFICATE_SIGNING_REQUESTS, name_of(request), options=options)
        except ApiError as error:
            if not is_not_found(error):
                raise
        return None


def expiry(request: Object) -> float | None:
    """When the request is to be deleted (Unix seconds); None while nothing says so."""
    status = request.get("status") or {}
    conditions, certificate = status.get("conditions") or (), status.get("certificate")
    created = parse_time(request["metadata"]["creationTimestamp"])
    moments: list[float] = [] if conditions else [created + pending_seconds]
    for condition in conditions:
        decided = condition.get("lastUpdateTime")
        match condition.get("type"):
            case "Approved" if certificate:
                moments += [parse_time(decided) + decided_seconds] if decided else []
                moments += _certificate_end(certificate)
            case "Approved":
                moments += [parse_time(decided) + pending_seconds] if decided else []
            case "Denied" | "Failed":
                moments += [parse_time(decided) + decided_seconds] if decided else []
    return min(moments, default=None)


def _certificate_end(encoded: str) -> list[float]:
    """When the first certificate ends; nothing when it cannot be read."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(base64.b64decode(encoded))
    except (binascii.Error, ValueError):
        return []
    return [found.not_valid_after_utc.timestamp()]
