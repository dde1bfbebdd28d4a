"""Which pods tolerate which taints, and for how long; pure (``component-helpers/scheduling``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.machinery.objects import Object

Taint = Mapping[str, Any]


def tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    """Whether one toleration matches one taint."""
    effect, key = toleration.get("effect"), toleration.get("key")
    if (effect and effect != taint.get("effect")) or (key and key != taint.get("key")):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    ours, theirs = str(toleration.get("value") or ""), str(taint.get("value") or "")
    if operator == "Equal":
        return bool(key) and ours == theirs
    try:
        wanted, present = int(ours), int(theirs)
    except ValueError:
        return False
    return present > wanted if operator == "Gt" else operator == "Lt" and present < wanted


def tolerates_all(tolerations: Sequence[Mapping[str, Any]], taints: Iterable[Taint], effects: Sequence[str]) -> bool:
    """Whether every taint with one of these effects is tolerated."""
    return all(
        any(tolerates(each, taint) for each in tolerations) for taint in taints if taint.get("effect") in effects
    )


def stay_seconds(pod: Object, taints: Sequence[Taint]) -> float | None:
    """How long the pod may stay on a node with these NoExecute taints: None for ever, 0 not at all."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    limits: list[float] = []
    for taint in taints:
        matching = [each for each in tolerations if tolerates(each, taint)]
        if not matching:
            return 0.0
        limits += [
            max(0.0, float(each["tolerationSeconds"])) for each in matching if each.get("tolerationSeconds") is not None
        ]
    return min(limits, default=None)


def no_execute(node: Object) -> list[Taint]:
    """The node's taints that drive pods away."""
    return [taint for taint in (node.get("spec") or {}).get("taints") or () if taint.get("effect") == "NoExecute"]
