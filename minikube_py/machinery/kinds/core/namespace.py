"""Namespace: a scope for names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.kinds.common.metadata import FINALIZER_TEXT
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.names import name_is_dns_label, qualified_name_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NAMESPACES

DEFINITION = "io.k8s.api.core.v1.Namespace"
NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"
_STANDARD = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def fill(namespace: Object) -> None:
    """Every namespace is labelled with its name, so that selectors can choose it."""
    meta = child(namespace, "metadata")
    if meta.get("name"):
        child(meta, "labels")[NAME_LABEL] = meta["name"]


def prepare_create(namespace: Object) -> None:
    """A new namespace is active and held by the namespace controller's finalizer."""
    finalizers = child(namespace, "spec").setdefault("finalizers", [])
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    namespace["status"] = {"phase": "Active"}


def prepare_update(namespace: Object, old: Object) -> None:
    """The finalizers of the spec change through the finalize subresource only."""
    finalizers = (old.get("spec") or {}).get("finalizers")
    spec = child(namespace, "spec")
    spec.pop("finalizers", None)
    if finalizers:
        spec["finalizers"] = list(finalizers)


def validate(namespace: Object) -> list[FieldError]:
    """``ValidateNamespace``."""
    errors: list[FieldError] = []
    for finalizer in (namespace.get("spec") or {}).get("finalizers") or ():
        errors += _finalizer_errors("spec.finalizers", finalizer)
    return errors


def validate_finalize(namespace: Object, old: Object) -> list[FieldError]:
    """``ValidateNamespaceFinalizeUpdate``."""
    errors: list[FieldError] = []
    for index, finalizer in enumerate((namespace.get("spec") or {}).get("finalizers") or ()):
        errors += _finalizer_errors(f"spec.finalizers[{index}]", finalizer)
    return errors


def _finalizer_errors(path: str, finalizer: str) -> list[FieldError]:
    errors = [invalid_value(path, finalizer, text) for text in qualified_name_errors(finalizer)]
    if "/" not in finalizer and finalizer not in _STANDARD:
        errors.append(invalid_value(path, finalizer, FINALIZER_TEXT))
    return errors


def validate_status(namespace: Object, old: Object) -> list[FieldError]:
    """``ValidateNamespaceStatusUpdate``: Terminating goes with a deletion timestamp."""
    deleting = bool((namespace.get("metadata") or {}).get("deletionTimestamp"))
    phase = (namespace.get("status") or {}).get("phase") or ""
    if not deleting and phase != "Active":
        return [invalid_value("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")]
    if deleting and phase != "Terminating":
        text = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        return [invalid_value("status.Phase", phase, text)]
    return []


def row(namespace: Mapping[str, Any], now: float) -> tuple[str, str, str]:
    return (name(namespace), str(part(namespace, "status").get("phase") or ""), age(namespace, now))


KIND = Kind(
    resource=NAMESPACES,
    singular="namespace",
    definition=DEFINITION,
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(Subresource("finalize", ("update",)), Subresource("status")),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_status=validate_status,
    name_errors=name_is_dns_label,
    has_status=True,
    columns=(NAME, column("Status", text="The status of the namespace"), AGE),
    row=row,
    selectable={"status.phase": lambda namespace: str(part(namespace, "status").get("phase") or "")},
    extra={"unsupported_field": "field label not supported: {field}", "validate_finalize": validate_finalize},
)
