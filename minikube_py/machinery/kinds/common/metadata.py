"""Validation of object metadata, for built-in and custom kinds alike.

``metadata_errors`` is what a new object must pass, ``metadata_update_errors`` what a changed one must.
The registry calls them before the kind's own ``validate`` and ``validate_update``. Rules and texts:
``k8s.io/apimachinery/pkg/api/validation/objectmeta.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.errors import (
    FieldError,
    forbidden_field,
    go_quote,
    invalid_value,
    required,
    too_long,
)
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.strategy import immutable
from minikube_py.machinery.names import (
    label_value_errors,
    name_is_dns_label,
    name_is_dns_subdomain,
    qualified_name_errors,
)
from minikube_py.machinery.objects import Object

MAX_ANNOTATION_BYTES = 256 * 1024
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_UNCHECKED_FINALIZERS = frozenset({"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io",
                                   "coordination.k8s.io", "node.k8s.io", "policy"})  # fmt: skip
"""Groups whose validation is not the core's; events of the core pass none when they are new."""
_EVENTS = ("", "events")
_BANNED_OWNERS = frozenset({("v1", "Event")})
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")

NameErrors = Callable[[str, bool], list[str]]


def metadata_errors(kind: Kind, obj: Object, *, builtin: bool = True) -> list[FieldError]:
    """Errors of the metadata of a new object of this kind.

    ``builtin``: finalizers without a domain must be among those that Kubernetes knows.
    """
    meta = obj.get("metadata") or {}
    check = kind.name_errors or name_is_dns_subdomain
    errors = object_meta_errors("metadata", meta, namespaced=kind.resource.namespaced, name_errors=check)
    unchecked = kind.resource.group in _UNCHECKED_FINALIZERS or (kind.resource.group, kind.resource.plural) == _EVENTS
    if builtin and meta.get("finalizers") and not unchecked:
        errors += _kube_finalizer_errors("metadata.finalizers", meta["finalizers"])
    return errors


def object_meta_errors(
    path: str, meta: Mapping[str, Any], *, namespaced: bool, name_errors: NameErrors
) -> list[FieldError]:
    """``ValidateObjectMetaAccessor``."""
    errors: list[FieldError] = []
    base, name, namespace = meta.get("generateName") or "", meta.get("name") or "", meta.get("namespace") or ""
    if base:
        errors += [invalid_value(f"{path}.generateName", base, text) for text in name_errors(base, True)]
    if name:
        errors += [invalid_value(f"{path}.name", name, text) for text in name_errors(name, False)]
    else:
        errors.append(required(f"{path}.name", "name or generateName is required"))
    if namespaced:
        if not namespace:
            errors.append(required(f"{path}.namespace"))
        errors += [invalid_value(f"{path}.namespace", namespace, text) for text in _namespace_errors(namespace)]
    elif namespace:
        errors.append(forbidden_field(f"{path}.namespace", "not allowed on this type"))
    if (meta.get("generation") or 0) < 0:
        errors.append(invalid_value(f"{path}.generation", meta["generation"], "must be greater than or equal to 0"))
    return errors + _common_errors(path, meta)


@dataclass(frozen=True, slots=True)
class UpdateChecks:
    """How often a kind's strategy looks at changed metadata, after the generic registry did; clients of Kubernetes
    see each error as often."""

    changes: int = 1
    """Times it checks what may change (``ValidateObjectMetaUpdate``)."""
    whole: int = 0
    """Times it checks the metadata as those of a new object (``ValidateObjectMeta``)."""


USUAL_CHECKS = UpdateChecks()


def metadata_update_errors(
    kind: Kind, obj: Object, old: Object, checks: UpdateChecks = USUAL_CHECKS, *, builtin: bool = True
) -> list[FieldError]:
    """Errors of the metadata of a changed object; ``builtin`` as for new ones."""
    meta, before = obj.get("metadata") or {}, old.get("metadata") or {}
    errors = (1 + checks.changes) * _update_errors("metadata", meta, before)
    if checks.whole:
        errors += checks.whole * _common_errors("metadata", meta)
    if builtin and meta.get("finalizers") and kind.resource.group not in _UNCHECKED_FINALIZERS:
        errors += (checks.changes + checks.whole) * _kube_finalizer_errors("metadata.finalizers", meta["finalizers"])
    return errors


def _update_errors(path: str, meta: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    if before.get("deletionTimestamp"):
        errors += _new_finalizer_errors(f"{path}.finalizers", meta, before)
    if not meta.get("resourceVersion"):
        errors.append(invalid_value(f"{path}.resourceVersion", "", "must be specified for an update"))
    if (meta.get("generation") or 0) < (before.get("generation") or 0):
        errors.append(invalid_value(f"{path}.generation", meta.get("generation") or 0, "must not be decremented"))
    for field in _IMMUTABLE:
        new = meta.get(field, "" if field in _IMMUTABLE[:3] else None)
        errors += immutable(f"{path}.{field}", new, before.get(field, new if not new else None))
    return errors + _common_errors(path, meta)


def _new_finalizer_errors(path: str, meta: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    extra = sorted(set(meta.get("finalizers") or ()) - set(before.get("finalizers") or ()))
    if not extra:
        return []
    listed = "[]string{" + ", ".join(go_quote(item) for item in extra) + "}"
    text = f"no new finalizers can be added if the object is being deleted, found new finalizers {listed}"
    return [forbidden_field(path, text)]


def _common_errors(path: str, meta: Mapping[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    if meta.get("labels"):
        errors += label_errors(f"{path}.labels", meta["labels"])
    if meta.get("annotations"):
        errors += annotation_errors(f"{path}.annotations", meta["annotations"])
    if meta.get("ownerReferences"):
        errors += _owner_errors(f"{path}.ownerReferences", meta["ownerReferences"])
    if meta.get("finalizers"):
        errors += _finalizer_errors(f"{path}.finalizers", meta["finalizers"])
    return errors


def _namespace_errors(namespace: str) -> list[str]:
    return name_is_dns_label(namespace, False) if namespace else []


def label_errors(path: str, labels: Mapping[str, str] | None) -> list[FieldError]:
    """``ValidateLabels``: keys are qualified names, values label values."""
    errors: list[FieldError] = []
    for key, value in sorted((labels or {}).items()):
        errors += [invalid_value(path, key, text) for text in qualified_name_errors(key)]
        errors += [invalid_value(path, value, text) for text in label_value_errors(value)]
    return errors


def annotation_errors(path: str, annotations: Mapping[str, str] | None) -> list[FieldError]:
    """``ValidateAnnotations``: qualified names in any case, 256 KiB of keys and values at most."""
    found = annotations or {}
    errors = [invalid_value(path, key, text) for key in sorted(found) for text in qualified_name_errors(key.lower())]
    if sum(len(key.encode()) + len((value or "").encode()) for key, value in found.items()) > MAX_ANNOTATION_BYTES:
        errors.append(too_long(path, MAX_ANNOTATION_BYTES))
    return errors


def _owner_errors(path: str, owners: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    errors: list[FieldError] = []
    controller = ""
    for owner in owners:
        errors += _one_owner_errors(path, owner)
        if not owner.get("controller"):
            continue
        this = f"{owner.get('kind', '')}/{owner.get('name', '')}"
        if controller:
            text = (
                "Only one reference can have Controller set to true. "
                f'Found "true" in references for {controller} and {this}'
            )
            errors.append(invalid_value(path, list(owners), text))
        else:
            controller = this
    return errors


def _one_owner_errors(path: str, owner: Mapping[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    api_version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
    if not api_version.rpartition("/")[2] or api_version.count("/") > 1:
        errors.append(invalid_value(f"{path}.apiVersion", api_version, "version must not be empty"))
    errors += [
        invalid_value(f"{path}.{field}", owner.get(field) or "", "must not be empty")
        for field in ("kind", "name", "uid")
        if not owner.get(field)
    ]
    if (api_version, kind) in _BANNED_OWNERS:
        group, _, version = api_version.rpartition("/")
        text = f"{group}/{version}, Kind={kind} is disallowed from being an owner"
        errors.append(invalid_value(path, dict(owner), text))
    return errors


def _finalizer_errors(path: str, finalizers: Sequence[str]) -> list[FieldError]:
    errors = [
        invalid_value(path, finalizer, text) for finalizer in finalizers for text in qualified_name_errors(finalizer)
    ]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid_value(path, list(finalizers), text))
    return errors


def _kube_finalizer_errors(path: str, finalizers: Sequence[str]) -> list[FieldError]:
    return [
        invalid_value(f"{path}[{index}]", finalizer, FINALIZER_TEXT)
        for index, finalizer in enumerate(finalizers)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
    ]


FINALIZER_TEXT = "name is neither a standard finalizer name nor is it fully qualified"
