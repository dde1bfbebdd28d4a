"""Sets of tolerations: which one covers another, and two of them made one.

Pure. Same rules as Kubernetes' ``pkg/util/tolerations``, with the corners that clients can see: a toleration
covers one without an operator only when both are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.objects import Object, thaw

Toleration = Mapping[str, Any]


def merged(first: Sequence[Toleration], second: Sequence[Toleration]) -> list[Object]:
    """Both lists without what another one of them covers; of equal ones the first stays. Copies."""
    every, kept = [*first, *second], list[Toleration]()
    for index, toleration in enumerate(every):
        if any(covers(other, toleration) for other in kept):
            continue
        if any(not _equal(other, toleration) and covers(other, toleration) for other in every[index + 1 :]):
            continue
        kept.append(toleration)
    return [thaw(dict(toleration)) for toleration in kept]


def all_covered(tolerations: Sequence[Toleration], allowed: Sequence[Toleration]) -> bool:
    """Whether each toleration is covered by an allowed one; an empty list allows everything."""
    if not allowed:
        return True
    return all(any(covers(other, toleration) for other in allowed) for toleration in tolerations)


def covers(wide: Toleration, narrow: Toleration) -> bool:
    """Whether ``wide`` tolerates at least what ``narrow`` does."""
    if _equal(wide, narrow):
        return True
    operator = _text(wide, "operator")
    if _text(wide, "key") != _text(narrow, "key") and (_text(wide, "key") or operator != "Exists"):
        return False
    if _text(wide, "effect") not in ("", _text(narrow, "effect")):
        return False
    if _text(wide, "effect") == "NoExecute" and _shorter(wide, narrow):
        return False
    if operator in ("", "Equal"):
        return _text(narrow, "operator") == "Equal" and _text(wide, "value") == _text(narrow, "value")
    return operator == "Exists"


def _shorter(wide: Toleration, narrow: Toleration) -> bool:
    limit, asked = wide.get("tolerationSeconds"), narrow.get("tolerationSeconds")
    return limit is not None and (asked is None or asked > limit)


def _text(toleration: Toleration, field: str) -> str:
    return str(toleration.get(field) or "")


def _equal(left: Toleration, right: Toleration) -> bool:
    return _told(left) == _told(right)


def _told(toleration: Toleration) -> Object:
    return {key: value for key, value in toleration.items() if value is not None and value != ""}
