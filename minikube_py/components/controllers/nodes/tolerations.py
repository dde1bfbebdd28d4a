"""Which pods tolerate which taints, and for how long; pure (``component-helpers/scheduling``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.machinery.objects import Object
from minikube_py.machinery.placement import Taint, toleration_matches, untolerated


def tolerates_all(tolerations: Sequence[Mapping[str, Any]], taints: Iterable[Taint], effects: Sequence[str]) -> bool:
    """Whether every taint with one of these effects is tolerated."""
    return untolerated(taints, tolerations, effects) is None


def stay_seconds(pod: Object, taints: Sequence[Taint]) -> float | None:
    """How long the pod may stay on a node with these NoExecute taints: None for ever, 0 not at all."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    limits: list[float] = []
    for taint in taints:
        matching = [each for each in tolerations if toleration_matches(each, taint)]
        if not matching:
            return 0.0
        limits += [
            max(0.0, float(each["tolerationSeconds"])) for each in matching if each.get("tolerationSeconds") is not None
        ]
    return min(limits, default=None)


def no_execute(node: Object) -> list[Taint]:
    """The node's taints that drive pods away."""
    return [taint for taint in (node.get("spec") or {}).get("taints") or () if taint.get("effect") == "NoExecute"]
