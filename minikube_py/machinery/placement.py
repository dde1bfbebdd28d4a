"""Which nodes a pod may be on by what it says itself: node selectors, required node affinity, taints and tolerations.

Pure, and the same for whoever asks: scheduler, controllers and kubelet. Sources:
``k8s.io/component-helpers/scheduling/corev1`` (``nodeaffinity``, ``FindMatchingUntoleratedTaint``) and
``Toleration.ToleratesTaint`` of ``k8s.io/api/core/v1``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Taint = Mapping[str, Any]
Toleration = Mapping[str, Any]


def requirement_matches(requirement: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """One node selector requirement against labels (or fields)."""
    key, operator = requirement.get("key", ""), requirement.get("operator")
    wanted: Sequence[str] = requirement.get("values") or ()
    found = values.get(key)
    if operator == "In":
        return found is not None and found in wanted
    if operator == "NotIn":
        return found is None or found not in wanted
    if operator == "Exists":
        return found is not None
    if operator == "DoesNotExist":
        return found is None
    if operator not in ("Gt", "Lt") or found is None or len(wanted) != 1:
        return False
    if not _is_integer(found) or not _is_integer(wanted[0]):
        return False
    return int(found) > int(wanted[0]) if operator == "Gt" else int(found) < int(wanted[0])


def term_matches(term: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    """All requirements of a term; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(requirement_matches(item, labels) for item in expressions) and all(
        requirement_matches(item, {"metadata.name": name}) for item in fields
    )


def node_selector_matches(selector: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    """A NodeSelector: any of its terms."""
    return any(term_matches(term, labels, name) for term in selector.get("nodeSelectorTerms") or ())


def required_matches(spec: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    """``GetRequiredNodeAffinity(pod).Match``: nodeSelector and required affinity together."""
    wanted: Mapping[str, str] = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return affinity is None or node_selector_matches(affinity, labels, name)


def toleration_matches(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration matches one taint."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    if not toleration.get("key"):
        return False
    mine, theirs = str(toleration.get("value") or ""), str(taint.get("value") or "")
    if operator == "Equal":
        return mine == theirs
    if operator in ("Lt", "Gt") and _is_integer(mine) and _is_integer(theirs):
        return int(theirs) < int(mine) if operator == "Lt" else int(theirs) > int(mine)
    return False


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    return any(toleration_matches(toleration, taint) for toleration in tolerations)


def untolerated(taints: Iterable[Taint], tolerations: Sequence[Toleration], effects: Sequence[str]) -> Taint | None:
    """The first taint with one of the effects that nothing tolerates."""
    return next((t for t in taints if t.get("effect") in effects and not tolerates(tolerations, t)), None)


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()
