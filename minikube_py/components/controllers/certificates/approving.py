"""Approves kubelets' requests for client certificates (``certificatesigningrequest-approving-controller``).

A request is recognised by its signer, subject and usages; whether its maker may have it is asked with a
SubjectAccessReview on ``certificatesigningrequests/selfnodeclient`` (a node renews its own) or
``/nodeclient`` (a bootstrapping node). Serving certificates are never approved here, as in Kubernetes:
nobody in the cluster can vouch for the names they ask for.
"""

from __future__ import annotations

import logging

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.certificates.requests import (
    KUBELET_CLIENT_SIGNER,
    Asked,
    RequestUnreadable,
    condition_of,
    kubelet_client_problem,
    parse_request,
)
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.machinery.objects import Object, name_of, thaw
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS

log = logging.getLogger(__name__)

_MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}


class ApprovingController:
    """The loop; keys are requests."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._requests = kit.client.informer(CERTIFICATE_SIGNING_REQUESTS)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="certificatesigningrequest-approving")

    async def run(self) -> None:
        """Run until cancelled."""
        name = "certificatesigningrequest-approving"
        await follow(self._kit, name, self._queue, self.reconcile, (self._requests, self._on_request), workers=1)

    def _on_request(self, type: EventType, request: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and _is_pending(request):
            self._queue.add(name_of(request))

    async def reconcile(self, key: str) -> None:
        """Approve one request if its maker may have it."""
        request = self._requests.get(key)
        if request is None or not _is_pending(request):
            return
        try:
            asked = parse_request(request)
        except RequestUnreadable as error:
            log.warning("cannot read a certificate request", extra={"request": key, "error": str(error)})
            return
        tried = recognized(request, asked)
        for permission in tried:
            if await self._allowed(request, permission):
                await self._approve(request, _MESSAGES[permission])
                return
        if tried:
            log.info("recognized certificate request is not allowed", extra={"request": key, "tried": tried})

    async def _allowed(self, request: Object, permission: str) -> bool:
        spec = request.get("spec") or {}
        review: Object = {
            "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": SUBJECT_ACCESS_REVIEWS.kind,
            "metadata": {},
            "spec": {
                "user": spec.get("username") or "",
                "uid": spec.get("uid") or "",
                "groups": list(spec.get("groups") or ()),
                "extra": {name: list(values) for name, values in (spec.get("extra") or {}).items()},
                "resourceAttributes": {
                    "group": CERTIFICATE_SIGNING_REQUESTS.group,
                    "resource": CERTIFICATE_SIGNING_REQUESTS.plural,
                    "verb": "create",
                    "subresource": permission,
                },
            },
        }
        answer = await self._kit.client.create(SUBJECT_ACCESS_REVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))

    async def _approve(self, request: Object, message: str) -> None:
        draft = thaw(request)
        condition = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}
        draft.setdefault("status", {}).setdefault("conditions", []).append(condition)
        await self._kit.client.update(CERTIFICATE_SIGNING_REQUESTS, draft, subresource="approval", options=WRITE)


def recognized(request: Object, asked: Asked) -> list[str]:
    """The permissions of which one lets the maker have this; none for a request of another sort."""
    spec = request.get("spec") or {}
    if spec.get("signerName") != KUBELET_CLIENT_SIGNER or kubelet_client_problem(asked, spec.get("usages") or ()):
        return []
    return ["selfnodeclient", "nodeclient"] if spec.get("username") == asked.common_name else ["nodeclient"]


def _is_pending(request: Object) -> bool:
    if (request.get("status") or {}).get("certificate"):
        return False
    return condition_of(request, "Approved") is None and condition_of(request, "Denied") is None
