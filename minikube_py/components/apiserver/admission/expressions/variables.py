"""The values that expressions see of one request: plain JSON data, shared with the request and read only.

Their types are in ``machinery.kinds.admissionregistration.expressions``.
"""

from __future__ import annotations

from typing import Any

from minikube_py.components.apiserver.admission.subjects import Subject, Target
from minikube_py.components.apiserver.admission.webhooks.review import request_fields
from minikube_py.machinery.objects import Object

_NAMESPACE_METADATA = (
    "name", "generateName", "namespace", "labels", "annotations", "creationTimestamp",
    "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "resourceVersion", "finalizers", "uid",
)  # fmt: skip


def values_of(
    subject: Subject, target: Target, *, namespace: Object | None = None, params: Object | None = None
) -> dict[str, Any]:
    """The values of all variables but ``authorizer`` and ``variables``; None stands for what there is not."""
    obj, old = subject.view(target)
    return {
        "object": obj,
        "oldObject": old,
        "request": request_fields(subject, target),
        "namespaceObject": namespace_value(namespace),
        "params": params,
    }


def namespace_value(namespace: Object | None) -> Object | None:
    """What expressions may see of a namespace (``CreateNamespaceObject``)."""
    if namespace is None:
        return None
    meta = {key: namespace["metadata"][key] for key in _NAMESPACE_METADATA if key in namespace["metadata"]}
    spec, status = namespace.get("spec") or {}, namespace.get("status") or {}
    return {
        "metadata": meta,
        "spec": {key: spec[key] for key in ("finalizers",) if key in spec},
        "status": {key: status[key] for key in ("conditions", "phase") if key in status},
    }
