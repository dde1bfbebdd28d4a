"""What changes on a pod between request and store (``pkg/registry/core/pod/strategy.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.kinds.common.pod_gates import drop_gated_fields, drop_gated_status
from minikube_py.machinery.kinds.common.setting import items
from minikube_py.machinery.kinds.common.shape import to_wire_form
from minikube_py.machinery.kinds.core import pod_app_armor
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import quantity_milli

DEFINITION = "io.k8s.api.core.v1.Pod"


def prepare_create(draft: Object) -> None:
    """A new pod is Pending, has its QoS class, and its selectors carry their matchLabelKeys."""
    spec = draft["spec"]
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    draft["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        created = (draft.get("metadata") or {}).get("creationTimestamp")
        draft["status"]["conditions"] = [{**_GATED, "lastTransitionTime": created}]
    drop_gated_fields(spec)
    labels = (draft.get("metadata") or {}).get("labels") or {}
    _merge_match_label_keys(spec, labels)
    pod_app_armor.synchronise(draft)
    to_wire_form(DEFINITION, draft)


_GATED: Object = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
    "lastProbeTime": None,
    "lastTransitionTime": None,
}


def prepare_update(draft: Object, old: Object) -> None:
    """The deprecated alias follows the service account's name."""
    spec = draft.get("spec") or {}
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    drop_gated_fields(spec, old.get("spec"))


def prepare_status(draft: Object, old: Object) -> None:
    """A pod's status may not lose the QoS class; owner references stay as they are."""
    status = draft.get("status") or {}
    before = (old.get("status") or {}).get("qosClass")
    if before and not status.get("qosClass"):
        status["qosClass"] = before
    _keep_observed_generations(status, old.get("status") or {})
    drop_gated_status(status, old.get("status") or {})
    meta, old_meta = draft["metadata"], old.get("metadata") or {}
    for name in ("ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(name, None)
        if name in old_meta:
            meta[name] = old_meta[name]


def _keep_observed_generations(status: Object, before: Mapping[str, Any]) -> None:
    """``preserveOldObservedGeneration``: clients that do not know the field do not clear it."""
    if before.get("observedGeneration") and not status.get("observedGeneration"):
        status["observedGeneration"] = before["observedGeneration"]
    known: dict[str, list[int]] = {}
    for condition in before.get("conditions") or ():
        known.setdefault(condition.get("type") or "", []).append(condition.get("observedGeneration") or 0)
    for condition in items(status, "conditions"):
        generations = known.get(condition.get("type") or "")
        earlier = generations.pop(0) if generations else 0
        if earlier and not condition.get("observedGeneration"):
            condition["observedGeneration"] = earlier


def grace_period(pod: Object, requested: int | None) -> int:
    """Seconds a deleted pod may take; pods without a node and pods that ended go at once."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
        return 0
    period = requested if requested is not None else spec.get("terminationGracePeriodSeconds") or 0
    return 1 if period < 0 else int(period)


_COUNTED = ("cpu", "memory")


def qos_class(spec: Mapping[str, Any]) -> str:
    """The pod's quality of service (``qos.ComputePodQOS``): Guaranteed, Burstable or BestEffort."""
    pod_level = spec.get("resources") or {}
    if pod_level.get("requests") or pod_level.get("limits"):
        return _pod_level_qos(pod_level)
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    guaranteed = True
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        _add(requests, resources.get("requests"))
        found = _add(limits, resources.get("limits"))
        guaranteed = guaranteed and len(found) == len(_COUNTED)
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if guaranteed and requests == limits else "Burstable"


def _pod_level_qos(resources: Mapping[str, Any]) -> str:
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    _add(requests, resources.get("requests"))
    found = _add(limits, resources.get("limits"))
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if len(found) == len(_COUNTED) and requests == limits else "Burstable"


def _add(sums: dict[str, int], amounts: Mapping[str, Any] | None) -> set[str]:
    found = set()
    for name in _COUNTED:
        milli = quantity_milli((amounts or {}).get(name) or 0)
        if milli > 0:
            sums[name] = sums.get(name, 0) + milli
            found.add(name)
    return found


def _merge_match_label_keys(spec: Object, labels: Mapping[str, str]) -> None:
    for constraint in items(spec, "topologySpreadConstraints"):
        _add_requirements(constraint, labels, constraint.get("matchLabelKeys"), "In")
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        listed = list(terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        listed += [
            weighted.get("podAffinityTerm") or {}
            for weighted in terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        for term in listed:
            _add_requirements(term, labels, term.get("matchLabelKeys"), "In")
            _add_requirements(term, labels, term.get("mismatchLabelKeys"), "NotIn")


def _add_requirements(term: Object, labels: Mapping[str, str], keys: Any, operator: str) -> None:
    """Pin a term to the pod's own values of these labels; without a selector there is nothing to pin."""
    if term.get("labelSelector") is None:
        return
    for key in keys or ():
        if key in labels:
            expressions = term["labelSelector"].setdefault("matchExpressions", [])
            expressions.append({"key": key, "operator": operator, "values": [labels[key]]})
