"""Conditions in an object's status: find one, read one, set one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import rfc3339


def find_condition(conditions: Iterable[Object] | None, type: str) -> Object | None:
    """The condition of this type, or None."""
    return next((condition for condition in conditions or () if condition.get("type") == type), None)


def condition_is_true(conditions: Iterable[Object] | None, type: str) -> bool:
    found = find_condition(conditions, type)
    return found is not None and found.get("status") == "True"


def condition_is_false(conditions: Iterable[Object] | None, type: str) -> bool:
    found = find_condition(conditions, type)
    return found is not None and found.get("status") == "False"


def set_condition(conditions: list[Object], new: Object, now: float) -> bool:
    """Put ``new`` into a private list of conditions; return whether anything changed.

    ``lastTransitionTime`` is kept while the status stays and becomes ``now`` (Unix seconds) when it
    changes, unless ``new`` carries one. The list and its entries are changed in place: they must be
    the caller's own copy. Same rule as ``meta.SetStatusCondition``.
    """
    current = find_condition(conditions, str(new.get("type")))
    if current is None:
        conditions.append({**new, "lastTransitionTime": new.get("lastTransitionTime") or rfc3339(now)})
        return True
    changed = False
    if current.get("status") != new.get("status"):
        current["status"] = new.get("status")
        current["lastTransitionTime"] = new.get("lastTransitionTime") or rfc3339(now)
        changed = True
    for key, value in new.items():
        if key not in ("type", "status", "lastTransitionTime") and current.get(key) != value:
            current[key] = value
            changed = True
    return changed


def remove_condition(conditions: list[Object], type: str) -> bool:
    """Take the condition of this type out of a private list; return whether it was there."""
    found: Any = find_condition(conditions, type)
    if found is None:
        return False
    conditions.remove(found)
    return True
