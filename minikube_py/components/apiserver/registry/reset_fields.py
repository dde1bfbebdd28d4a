"""Which fields an endpoint puts back whatever a request says, so that nobody owns them through it.

The ``GetResetFields`` of Kubernetes' strategies: the main resource puts the status back, the status
subresource the spec; a few kinds differ.
"""

from __future__ import annotations

from minikube_py.machinery.kind import Kind

Paths = tuple[str, ...]

_SPECIAL: dict[tuple[str, str, str], Paths] = {
    ("certificates.k8s.io", "certificatesigningrequests", ""): ("spec", "status"),
    ("certificates.k8s.io", "certificatesigningrequests", "status"): ("spec", "status.conditions"),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): ("spec", "status.certificate"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "status"): ("metadata", "spec"),
    ("apps", "deployments", "status"): ("spec", "metadata.labels"),
    ("networking.k8s.io", "servicecidrs", "status"): ("spec", "metadata"),
    ("", "pods", "status"): ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
}


def reset_fields(kind: Kind, subresource: str) -> Paths:
    """Dotted paths that writes to the kind (or to one of its subresources) never own."""
    special = _SPECIAL.get((kind.resource.group, kind.resource.plural, subresource))
    if special is not None:
        return special
    if not subresource:
        return ("status",) if kind.has_status or kind.extra.get("status_on_create") else ()
    if subresource == "status":
        return ("spec", "metadata") if "custom" in kind.extra else ("spec",)
    return ("status",) if subresource == "finalize" else ()
