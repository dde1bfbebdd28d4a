"""Times of the conditions of certificate signing requests, which the server fills in."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import rfc3339


def stamp_conditions(kind: Kind, draft: Object, old: Object, now: float) -> None:
    """Set the times that a client left out; a condition that stays as it was keeps its transition time.

    Follows ``populateConditionTimestamps`` of the certificates registry; other kinds are left alone.
    """
    if (kind.resource.group, kind.resource.plural) != ("certificates.k8s.io", "certificatesigningrequests"):
        return
    before = {
        (condition.get("type"), condition.get("status")): condition.get("lastTransitionTime")
        for condition in (old.get("status") or {}).get("conditions") or ()
    }
    for condition in (draft.get("status") or {}).get("conditions") or ():
        if not condition.get("lastTransitionTime"):
            kept = before.get((condition.get("type"), condition.get("status")))
            condition["lastTransitionTime"] = kept or rfc3339(now)
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = rfc3339(now)
