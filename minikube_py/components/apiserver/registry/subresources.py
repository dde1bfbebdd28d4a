"""Parts of an object that are written on their own: status, ephemeralcontainers, resize, approval, finalize.

A ``Part`` says which of a draft's fields count (``restrict`` puts the others back), how it is
prepared and validated, and under which subresource its fields are tracked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Kind, no_change_from
from minikube_py.machinery.objects import Object, thaw

Change = Callable[[Object, Object], None]
Validate = Callable[[Object, Object], list[FieldError]]


@dataclass(frozen=True, slots=True)
class Part:
    """See the module; ``name`` is empty for the object itself."""

    name: str
    restrict: Change
    prepare: Change
    validate: Validate
    tracked_as: str = ""
    keeps_generation: bool = False


def part_of(kind: Kind, subresource: str) -> Part:
    """The part that a subresource of a kind writes."""
    found = kind.extra.get(f"part_{subresource}")
    if isinstance(found, Part):
        return found
    if not subresource:
        restrict: Change = _keep_status if kind.has_status else no_change_from
        return Part("", restrict, kind.prepare_update, kind.validate_update)
    if subresource == "status":
        restrict = _RESTRICT_STATUS.get((kind.resource.group, kind.resource.plural), _only_status)
        return Part("status", restrict, kind.prepare_status, kind.validate_status, "status", True)
    if subresource == "finalize":
        validate = cast(Validate, kind.extra.get("validate_finalize") or _nothing)
        return Part("finalize", _only_finalizers, no_change_from, validate, "finalize", True)
    if subresource == "approval":
        validate = cast(Validate, kind.extra.get("validate_approval") or kind.validate_status)
        return Part("approval", _only_conditions, _prepare(kind, subresource), validate, "approval", True)
    validate = cast(Validate, kind.extra.get(f"validate_{subresource}") or kind.validate_update)
    restrict = _RESTRICT.get(subresource, _keep_status)
    return Part(subresource, restrict, _prepare(kind, subresource), validate, subresource)


def _prepare(kind: Kind, subresource: str) -> Change:
    return cast(Change, kind.extra.get(f"prepare_{subresource}") or no_change_from)


def _nothing(draft: Object, old: Object) -> list[FieldError]:
    return []


def _put_back(draft: Object, old: Object, field: str) -> None:
    if field in old:
        draft[field] = thaw(old[field])
    else:
        draft.pop(field, None)


def _keep_status(draft: Object, old: Object) -> None:
    _put_back(draft, old, "status")


def _only_status(draft: Object, old: Object) -> None:
    for field in (draft.keys() | old.keys()) - {"kind", "apiVersion", "metadata", "status"}:
        _put_back(draft, old, field)


def _only_status_and_no_labels(draft: Object, old: Object) -> None:
    _only_status(draft, old)
    _put_back(draft["metadata"], old["metadata"], "labels")


def _only_status_and_no_metadata(draft: Object, old: Object) -> None:
    _only_status(draft, old)
    _keep_metadata(draft, old)


def _keep_metadata(draft: Object, old: Object) -> None:
    """``metav1.ResetObjectMetaForStatus``."""
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        _put_back(draft["metadata"], old["metadata"], field)


def _only_finalizers(draft: Object, old: Object) -> None:
    """``finalize`` of a namespace writes ``spec.finalizers``."""
    finalizers = (draft.get("spec") or {}).get("finalizers")
    for field in (draft.keys() | old.keys()) - {"kind", "apiVersion", "metadata"}:
        _put_back(draft, old, field)
    spec = draft.setdefault("spec", {})
    spec.pop("finalizers", None)
    if finalizers:
        spec["finalizers"] = finalizers


def _only_conditions(draft: Object, old: Object) -> None:
    """``approval`` of a certificate signing request writes ``status.conditions``."""
    conditions = (draft.get("status") or {}).get("conditions")
    for field in (draft.keys() | old.keys()) - {"kind", "apiVersion", "metadata"}:
        _put_back(draft, old, field)
    status = draft.setdefault("status", {})
    status.pop("conditions", None)
    if conditions:
        status["conditions"] = conditions


def _only_ephemeral_containers(draft: Object, old: Object) -> None:
    """``dropNonEphemeralContainerUpdates``."""
    added = (draft.get("spec") or {}).get("ephemeralContainers")
    for field in (draft.keys() | old.keys()) - {"kind", "apiVersion", "metadata"}:
        _put_back(draft, old, field)
    _keep_metadata(draft, old)
    spec = draft.setdefault("spec", {})
    spec.pop("ephemeralContainers", None)
    if added:
        spec["ephemeralContainers"] = added


_CONTAINERS = ("containers", "initContainers")


def _only_resources(draft: Object, old: Object) -> None:
    """``resize`` of a pod writes the pod's resources, and resources and resize policies of its containers.

    Containers that come, go, move or get other names are left as the request has them, for validation to refuse
    (``dropNonResizeUpdates``).
    """
    wanted, before = draft.get("spec") or {}, old.get("spec") or {}
    if any(len(wanted.get(sort) or ()) != len(before.get(sort) or ()) for sort in _CONTAINERS):
        return
    for field in (draft.keys() | old.keys()) - {"kind", "apiVersion", "metadata"}:
        _put_back(draft, old, field)
    _keep_metadata(draft, old)
    spec = draft.get("spec") or {}
    _take(spec, wanted, "resources")
    for sort in _CONTAINERS:
        given = wanted.get(sort) or ()
        if [each.get("name") for each in given] != [each.get("name") for each in before.get(sort) or ()]:
            spec[sort] = given
            continue
        for container, new in zip(spec.get(sort) or (), given, strict=True):
            for field in ("resources", "resizePolicy"):
                _take(container, new, field)


def _take(holder: Object, given: Object, field: str) -> None:
    if field in given:
        holder[field] = given[field]
    else:
        holder.pop(field, None)


_RESTRICT_STATUS: dict[tuple[str, str], Change] = {
    ("apps", "deployments"): _only_status_and_no_labels,
    ("networking.k8s.io", "servicecidrs"): _only_status_and_no_metadata,
}
_RESTRICT: dict[str, Change] = {
    "ephemeralcontainers": _only_ephemeral_containers,
    "resize": _only_resources,
}
