"""Whether a pod's node selector and required node affinity choose a node; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.objects import Object, labels_of, name_of


def chooses(spec: Mapping[str, Any], node: Object) -> bool:
    """Whether ``nodeSelector`` and required node affinity of a pod spec allow the node."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], node: Object) -> bool:
    """All of a term must hold; an empty term chooses nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = labels_of(node)
    return all(_holds(each, labels.get(str(each.get("key")))) for each in expressions) and all(
        _holds(each, name_of(node) if each.get("key") == "metadata.name" else None) for each in fields
    )


def _holds(requirement: Mapping[str, Any], value: str | None) -> bool:
    operator: str = requirement.get("operator") or ""
    values: Sequence[str] = requirement.get("values") or ()
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or len(values) != 1:
        return False
    try:
        present, wanted = int(value), int(values[0])
    except ValueError:
        return False
    return present > wanted if operator == "Gt" else operator == "Lt" and present < wanted
