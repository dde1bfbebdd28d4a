"""Which fields an endpoint puts back whatever a request says, so that nobody owns them through it.

The ``GetResetFields`` of Kubernetes' strategies: the main resource puts the status back, the status
subresource the spec; a few kinds differ.
"""

from __future__ import annotations

from minikube_py.machinery.kind import Kind

Paths = tuple[str, ...]

_METADATA_TOO: Paths = ("spec", "metadata")
_SPECIAL: dict[tuple[str, str, str], Paths] = {
    ("certificates.k8s.io", "certificatesigningrequests", ""): ("spec", "status"),
    ("certificates.k8s.io", "certificatesigningrequests", "status"): ("spec", "status.conditions"),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): ("spec", "status.certificate"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "status"): _METADATA_TOO,
    ("apiextensions.k8s.io", "customresourcedefinitions", "status"): _METADATA_TOO,
    ("apiregistration.k8s.io", "apiservices", "status"): _METADATA_TOO,
    ("apps", "deployments", "status"): ("spec", "metadata.labels"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", "status"): _METADATA_TOO,
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "status"): _METADATA_TOO,
    ("networking.k8s.io", "servicecidrs", "status"): _METADATA_TOO,
    ("resource.k8s.io", "resourceclaims", "status"): _METADATA_TOO,
    ("storage.k8s.io", "volumeattachments", "status"): _METADATA_TOO,
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
        return _METADATA_TOO if "custom" in kind.extra else ("spec",)
    return ("status",) if subresource == "finalize" else ()
