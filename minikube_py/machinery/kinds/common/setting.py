"""Tiny steps that defaulting functions are made of.

"Unset" is Go's notion for plain fields: absent, null, or the zero value. Drafts reach defaulting in
wire form (``shape.to_wire_form``), where unset fields are absent, so presence is what is tested.
"""

from __future__ import annotations

from typing import Any

from minikube_py.machinery.objects import Object


def set_default(draft: Object, **values: Any) -> None:
    """Set each field that the draft does not have."""
    for name, value in values.items():
        if draft.get(name) is None:
            draft[name] = value


def child(draft: Object, name: str) -> Object:
    """The mapping in this field, made when it is missing."""
    found = draft.get(name)
    if found is None:
        found = draft[name] = {}
    result: Object = found
    return result


def items(draft: Object, name: str) -> list[Any]:
    """The list in this field; an empty one, not stored, when it is missing."""
    found: list[Any] = draft.get(name) or []
    return found


def drop(draft: Object, *names: str) -> None:
    """Remove fields if they are there."""
    for name in names:
        draft.pop(name, None)


def string_data_zero(draft: Object, name: str) -> None:
    """Values of a map of strings that are null become empty strings, as Go decodes them."""
    values = draft.get(name)
    if values:
        for key, value in values.items():
            if value is None:
                values[key] = ""
