"""Owner references: who made an object, and who garbage collection asks before it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.objects import Object, metadata, name_of, uid_of


def owner_references(obj: Mapping[str, Any]) -> list[Object]:
    """The object's owner references (read-only)."""
    found: list[Object] = metadata(obj).get("ownerReferences") or []
    return found


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """The reference to the object's controller, or None."""
    return next((reference for reference in owner_references(obj) if reference.get("controller")), None)


def owner_reference(
    owner: Mapping[str, Any], api_version: str, kind: str, *, controller: bool = True, block: bool = True
) -> Object:
    """A reference to ``owner``, which must have a name and a uid (``metav1.NewControllerRef``)."""
    reference: Object = {"apiVersion": api_version, "kind": kind, "name": name_of(owner), "uid": uid_of(owner)}
    if controller:
        reference["controller"] = True
    if block:
        reference["blockOwnerDeletion"] = True
    return reference


def is_controlled_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether the object's controller is this very owner (by uid)."""
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid_of(owner)
