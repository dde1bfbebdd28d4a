"""Devices used as an administrator: only claims in namespaces that are labelled for it may ask for that.

The one rule of a kind that looks at another object (``AuthorizedForAdmin`` of ``pkg/registry/resource``):
kinds themselves are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.components.apiserver.registry.core import Core
from minikube_py.machinery.errors import FieldError, forbidden_field
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NAMESPACES

_LABEL = "resource.kubernetes.io/admin-access"
_GROUP = "resource.k8s.io"


def new_claim_errors(core: Core, kind: Kind, draft: Object) -> list[FieldError]:
    """Errors of a new claim, or template of claims, whose requests ask for access as an administrator."""
    if kind.resource.group != _GROUP or kind.resource.plural not in ("resourceclaims", "resourceclaimtemplates"):
        return []
    spec = draft.get("spec") or {}
    if kind.resource.plural == "resourceclaimtemplates":
        spec = spec.get("spec") or {}
    asked = ((request.get("exactly") or {}) for request in (spec.get("devices") or {}).get("requests") or ())
    return _errors(core, draft, "spec.devices.requests", asked)


def allocation_errors(core: Core, kind: Kind, draft: Object, old: Object) -> list[FieldError]:
    """Errors of an allocation that gives such access, where the one before did not."""
    if kind.resource.group != _GROUP or kind.resource.plural != "resourceclaims":
        return []
    if any(result.get("adminAccess") for result in _results(old)):
        return []
    return _errors(core, draft, "status.allocation.devices.results", _results(draft))


def _results(claim: Object) -> list[Mapping[str, Any]]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    return (allocation.get("devices") or {}).get("results") or []


def _errors(core: Core, draft: Object, path: str, entries: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    first = next((index for index, entry in enumerate(entries) if entry.get("adminAccess")), None)
    if first is None:
        return []
    found = core.caches.open(NAMESPACES).get("", str(draft["metadata"].get("namespace") or ""))
    labels = {} if found is None else found.object["metadata"].get("labels") or {}
    if labels.get(_LABEL) == "true":
        return []
    text = f"admin access to devices requires the `{_LABEL}: true` label on the containing namespace"
    return [forbidden_field(f"{path}[{first}].adminAccess", text)]
