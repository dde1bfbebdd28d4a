"""PodTopologyLabels: a pod gets the zone and the region of the node that it is bound to as labels.

The scheduler's Binding gets them (the pod takes over its labels), and so does a pod that is created for a node.
What it said of itself before gives way, and a node that nobody knows has neither. Same rules as
``plugin/pkg/admission/podtopologylabels``.
"""

from __future__ import annotations

from minikube_py.components.apiserver.admission.refusal import is_for
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.objects import Object, labels_of
from minikube_py.machinery.resources import PODS

NAME = "PodTopologyLabels"
_COPIED = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels:
    """The plugin."""

    name = NAME
    handles_by_kind = True

    def __init__(self, nodes: Lookup) -> None:
        self._nodes = nodes

    def handles(self, request: AdmissionRequest) -> bool:
        return any(is_for(request, PODS, Operation.CREATE, subresource=name) for name in ("", "binding"))

    async def admit(self, request: AdmissionRequest) -> None:
        draft = request.object
        node_name = _node_name(draft or {}, request.subresource)
        if draft is None or not node_name:
            return
        node = await self._nodes.get(node_name)
        found = labels_of(node or {})
        copied = {name: found[name] for name in _COPIED if name in found}
        if copied:
            meta = draft.setdefault("metadata", {})
            meta["labels"] = {**(meta.get("labels") or {}), **copied}

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing: pods may say of themselves what they like."""


def _node_name(draft: Object, subresource: str) -> str:
    if subresource == "binding":
        target = draft.get("target") or {}
        return str(target.get("name") or "") if target.get("kind") == "Node" else ""
    return str((draft.get("spec") or {}).get("nodeName") or "")
