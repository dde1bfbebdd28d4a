"""Approves the serving certificates of kubelets that ask for their own names (``kubelet-serving-approving``).

Kubernetes leaves these to a human or to the distribution, since nobody in the cluster vouches for names. Here a
request is approved when it was made by the node itself, asks for no other DNS name than the node's, and only for
addresses that its Node object has and no other node's has. Whatever else waits for a human, as in Kubernetes.
A request that comes before its Node has addresses is looked at again when it has.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.certificates.deciding import approved, decide, is_pending
from minikube_py.components.controllers.certificates.requests import (
    KUBELET_SERVING_SIGNER,
    Asked,
    asked_by,
    kubelet_serving_problem,
)
from minikube_py.components.controllers.kit import Kit, follow
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS, NODES

log = logging.getLogger(__name__)

NODE_PREFIX = "system:node:"
MESSAGE = "Auto approving kubelet serving certificate for the node's own names."


class ServingApprovingController:
    """The loop; keys are requests."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._requests = kit.client.informer(CERTIFICATE_SIGNING_REQUESTS)
        self._nodes = kit.client.informer(NODES)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="kubelet-serving-approving")

    async def run(self) -> None:
        """Run until cancelled."""
        sources = (self._requests, self._on_request), (self._nodes, self._on_node)
        await follow(self._kit, "kubelet-serving-approving", self._queue, self.reconcile, *sources, workers=1)

    def _on_request(self, type: EventType, request: Object, old: Object | None) -> None:
        if type is not EventType.DELETED and _is_ours(request):
            self._queue.add(name_of(request))

    def _on_node(self, type: EventType, node: Object, old: Object | None) -> None:
        if old is not None and type is not EventType.DELETED and addresses_of(node) == addresses_of(old):
            return
        for request in self._requests.list():
            if _is_ours(request):
                self._queue.add(name_of(request))

    async def reconcile(self, key: str) -> None:
        """Approve one request if it is as the module says."""
        request = self._requests.get(key)
        if request is None or not _is_ours(request):
            return
        asked = asked_by(request)
        if asked is None:
            return
        why_not = problem(request, asked, self._nodes.list())
        if why_not:
            log.info("serving certificate waits for approval", extra={"request": key, "why": why_not})
            return
        await decide(self._kit, request, approved(MESSAGE))


def problem(request: Object, asked: Asked, nodes: Iterable[Object]) -> str:
    """Why the request cannot be approved without a human; empty when it can."""
    spec = request.get("spec") or {}
    if found := kubelet_serving_problem(asked, spec.get("usages") or ()):
        return found
    if spec.get("username") != asked.common_name or "system:nodes" not in (spec.get("groups") or ()):
        return "it was not made by the node that it names"
    name = asked.common_name.removeprefix(NODE_PREFIX)
    own: set[str] = set()
    others: set[str] = set()
    for node in nodes:
        (own if name_of(node) == name else others).update(addresses_of(node))
    if foreign := sorted(set(asked.dns_names) - {name}):
        return f"it asks for names that are not the node's: {', '.join(foreign)}"
    if foreign := sorted(set(asked.addresses) - own):
        return f"it asks for addresses that the node does not have: {', '.join(foreign)}"
    if shared := sorted(set(asked.addresses) & others):
        return f"it asks for addresses that another node has as well: {', '.join(shared)}"
    return ""


def addresses_of(node: Object) -> Sequence[str]:
    """The IP addresses that a node reports."""
    listed = (node.get("status") or {}).get("addresses") or ()
    return [str(one.get("address")) for one in listed if one.get("type") in ("InternalIP", "ExternalIP")]


def _is_ours(request: Object) -> bool:
    """Pending, and for this signer."""
    return (request.get("spec") or {}).get("signerName") == KUBELET_SERVING_SIGNER and is_pending(request)
