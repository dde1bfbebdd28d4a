"""Approves kubelets' requests for client certificates (``certificatesigningrequest-approving-controller``).

A request is recognised by its signer, subject and usages; whether its maker may have it is asked with a
SubjectAccessReview on ``certificatesigningrequests/selfnodeclient`` (a node renews its own) or
``/nodeclient`` (a bootstrapping node). Serving certificates are never approved here (see ``serving_approving``).

Who joins with a token of pyk3s (``settings.joining_group``) gets no certificate in the name of a node that exists:
a leaked token must not be good for the Secrets of that node's pods. The request is denied.
"""

from __future__ import annotations

import logging

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.certificates.deciding import approved, decide, is_pending
from minikube_py.components.controllers.certificates.requests import (
    KUBELET_CLIENT_SIGNER,
    Asked,
    asked_by,
    kubelet_client_problem,
)
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS, NODES, SUBJECT_ACCESS_REVIEWS

log = logging.getLogger(__name__)

NODE_NAME_TAKEN = "NodeNameTaken"
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
        if type is not EventType.DELETED and is_pending(request):
            self._queue.add(name_of(request))

    async def reconcile(self, key: str) -> None:
        """Approve one request if its maker may have it."""
        request = self._requests.get(key)
        if request is None or not is_pending(request):
            return
        asked = asked_by(request)
        if asked is None:
            return
        tried = recognized(request, asked)
        for permission in tried:
            if await self._allowed(request, permission):
                await decide(self._kit, request, await self._decision(request, asked, permission))
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

    async def _decision(self, request: Object, asked: Asked, permission: str) -> Object:
        """The condition that is put on an allowed request."""
        spec, group = request.get("spec") or {}, self._kit.settings.joining_group
        if spec.get("username") != asked.common_name and group and group in (spec.get("groups") or ()):
            name = asked.common_name.removeprefix("system:node:")
            if await self._exists(name):
                text = f'a node named "{name}" exists already'
                return {"type": "Denied", "status": "True", "reason": NODE_NAME_TAKEN, "message": text}
        return approved(_MESSAGES[permission])

    async def _exists(self, node: str) -> bool:
        try:
            await self._kit.client.get(NODES, node)
        except ApiError as error:
            if is_not_found(error):
                return False
            raise
        return True


def recognized(request: Object, asked: Asked) -> list[str]:
    """The permissions of which one lets the maker have this; none for a request of another sort."""
    spec = request.get("spec") or {}
    if spec.get("signerName") != KUBELET_CLIENT_SIGNER or kubelet_client_problem(asked, spec.get("usages") or ()):
        return []
    return ["selfnodeclient", "nodeclient"] if spec.get("username") == asked.common_name else ["nodeclient"]
