"""Steps that many kinds take on create and update, as Kubernetes' registry strategies do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kinds.common.shape import to_wire_form
from minikube_py.machinery.objects import Object, thaw

IMMUTABLE = "field is immutable"


def wire_form(definition: str) -> Callable[[Object], None]:
    """Defaulting of a kind without defaults: only the wire form."""

    def default(draft: Object) -> None:
        to_wire_form(definition, draft)

    return default


def defaults(definition: str, fill: Callable[[Object], None]) -> Callable[[Object], None]:
    """Defaulting of a kind: the wire form, then its defaults."""

    def default(draft: Object) -> None:
        to_wire_form(definition, draft)
        fill(draft)

    return default


def keeping_empty(
    default: Callable[[Object], None], *path: str
) -> tuple[Callable[[Object], None], Callable[[Object], None]]:
    """(defaulting that leaves an empty list where a client sent one, the step that stores it as null).

    A required list that is sent empty belongs to its sender's managed fields, unlike one that is missing;
    both are stored, and answered, as null. Ownership is tracked between defaulting and preparation.
    """

    def defaulted(draft: Object) -> None:
        holder, last = _holder(draft, path)
        sent_empty = holder is not None and holder.get(last) == []
        default(draft)
        holder, last = _holder(draft, path)
        if sent_empty and holder is not None:
            holder[last] = []

    def prepared(draft: Object) -> None:
        holder, last = _holder(draft, path)
        if holder is not None and holder.get(last) == []:
            holder[last] = None

    return defaulted, prepared


def _holder(draft: Object, path: tuple[str, ...]) -> tuple[Object | None, str]:
    """What holds the last field of a path, when it is there."""
    found: Any = draft
    for name in path[:-1]:
        found = found.get(name) if isinstance(found, dict) else None
    return (found if isinstance(found, dict) else None), path[-1]


def fresh_status(definition: str, **values: Any) -> Callable[[Object], None]:
    """A new object starts with an empty status (or with these values), whatever the request said."""

    def prepare_create(draft: Object) -> None:
        draft["status"] = dict(values)
        to_wire_form(definition, draft)

    return prepare_create


_STATUS_METADATA = (
    "name", "generateName", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "generation",
)  # fmt: skip


def keep_metadata(draft: Object, old: Object) -> None:
    """A status update changes no metadata (``metav1.ResetObjectMetaForStatus``)."""
    _keep(draft, old, _STATUS_METADATA)


def keep_labels(draft: Object, old: Object) -> None:
    """A status update leaves labels alone."""
    _keep(draft, old, ("labels",))


def _keep(draft: Object, old: Object, fields: tuple[str, ...]) -> None:
    meta, before = draft["metadata"], old.get("metadata") or {}
    for field in fields:
        meta.pop(field, None)
        if field in before:
            meta[field] = thaw(before[field])


def immutable(field: str, new: Any, old: Any) -> list[FieldError]:
    """``apivalidation.ValidateImmutableField``."""
    return [] if new == old else [invalid_value(field, new, IMMUTABLE)]
