"""What plugins share: the error of a refusal and short questions about a request."""

from __future__ import annotations

from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import ApiError, forbidden
from minikube_py.machinery.objects import Object, metadata
from minikube_py.machinery.resources import Resource


def refuse(request: AdmissionRequest, why: str) -> ApiError:
    """403 that names the object, by its generateName where it has no name yet (``admission.NewForbidden``)."""
    resource = request.kind.resource
    return forbidden(resource.group, resource.plural, request_name(request), why)


def failed(message: str) -> ApiError:
    """500 with a text alone: what becomes of a plugin's error that is no Status."""
    return ApiError(500, "", message)


def request_name(request: AdmissionRequest) -> str:
    given = metadata(request.object or {})
    return request.name or given.get("name") or given.get("generateName") or "Unknown"


def draft_spec(draft: Object) -> Object:
    """The draft's spec, made where it has none: plugins run before validation asks for it."""
    spec = draft.get("spec")
    if not isinstance(spec, dict):
        spec = draft["spec"] = {}
    return spec


def is_for(request: AdmissionRequest, resource: Resource, *operations: Operation, subresource: str = "") -> bool:
    """Whether the request does one of the operations to the resource (in any version)."""
    asked = request.kind.resource
    return (
        asked.plural == resource.plural
        and asked.group == resource.group
        and request.subresource == subresource
        and request.operation in operations
    )
