"""Signs approved requests of Kubernetes' own signers (``certificatesigningrequest-signing-controller``).

The loop checks what a signer promises about its certificates and how long they may live; the keys are
behind ``SignRequest``, which the composition provides. A request that breaks a promise gets the
condition Failed and is never looked at again; a failure to sign is tried again.
"""

from __future__ import annotations

import base64

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.certificates.requests import (
    SIGNER_PROBLEMS,
    asked_by,
    condition_of,
)
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.components.controllers.settings import SignRequest
from minikube_py.machinery.objects import Object, name_of, thaw
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS
from minikube_py.machinery.times import rfc3339

shortest_seconds = 600.0


class SigningController:
    """The loop; keys are requests."""

    def __init__(self, kit: Kit) -> None:
        if kit.settings.sign_request is None:
            raise ValueError("no signer is configured")
        self._kit = kit
        self._sign: SignRequest = kit.settings.sign_request
        self._requests = kit.client.informer(CERTIFICATE_SIGNING_REQUESTS)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="certificatesigningrequest-signing")

    async def run(self) -> None:
        """Run until cancelled."""
        name = "certificatesigningrequest-signing"
        await follow(self._kit, name, self._queue, self.reconcile, (self._requests, self._on_request), workers=1)

    def _on_request(self, type: EventType, request: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and _is_due(request):
            self._queue.add(name_of(request))

    async def reconcile(self, key: str) -> None:
        """Sign one request, or say why it will not be signed."""
        request = self._requests.get(key)
        if request is None or not _is_due(request):
            return
        spec = request.get("spec") or {}
        asked = asked_by(request)
        if asked is None:
            return
        usages = spec.get("usages") or ()
        problem = SIGNER_PROBLEMS[spec["signerName"]](asked, usages)
        draft = thaw(request)
        if problem:
            draft["status"]["conditions"].append(self._failed(problem))
        else:
            seconds = lifetime(spec.get("expirationSeconds"), self._kit.settings.cluster_signing_seconds)
            pem = await self._sign(spec["signerName"], asked.pem, usages, seconds)
            draft["status"]["certificate"] = base64.b64encode(pem).decode("ascii")
        await self._kit.client.update(CERTIFICATE_SIGNING_REQUESTS, draft, subresource="status", options=WRITE)

    def _failed(self, message: str) -> Object:
        return {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": message,
            "lastUpdateTime": rfc3339(self._kit.clock.now()),
        }


def lifetime(asked_seconds: int | None, longest_seconds: float) -> float:
    """How long a certificate lives: as asked, but at least ten minutes and no longer than the signer allows."""
    if asked_seconds is None or asked_seconds > longest_seconds:
        return longest_seconds
    return max(shortest_seconds, float(asked_seconds))


def _is_due(request: Object) -> bool:
    """Approved, not failed, not signed, and ours to sign."""
    if (request.get("spec") or {}).get("signerName") not in SIGNER_PROBLEMS:
        return False
    if (request.get("status") or {}).get("certificate"):
        return False
    return condition_of(request, "Approved") is not None and condition_of(request, "Failed") is None
