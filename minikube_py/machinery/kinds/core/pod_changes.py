"""What may change on a pod beside its containers: certain annotations, and where a gated pod may run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import forbidden_field, invalid_value
from minikube_py.machinery.kinds.common.checks import Errors
from minikube_py.machinery.kinds.common.go_values import go_list, go_object
from minikube_py.machinery.kinds.common.podspec.annotations import APP_ARMOR, MIRROR, pod_annotation_errors
from minikube_py.machinery.objects import Object

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def annotation_update_errors(pod: Object, old: Object) -> Errors:
    """``ValidatePodSpecificAnnotationUpdates``: AppArmor's and the mirror annotation stay as they are.

    The errors of the annotations themselves are told here too, beside those that ``validate_pod`` tells.
    """
    new, before = ((obj.get("metadata") or {}).get("annotations") or {} for obj in (pod, old))
    errors: Errors = []
    for key in sorted(before):
        if new.get(key) == before[key]:
            continue
        if key.startswith(APP_ARMOR):
            errors.append(_forbidden(key, "may not remove or update AppArmor annotations"))
        if key == MIRROR:
            errors.append(_forbidden(key, "may not remove or update mirror pod annotation"))
    for key in sorted(new.keys() - before.keys()):
        if key.startswith(APP_ARMOR):
            errors.append(_forbidden(key, "may not add AppArmor annotations"))
        if key == MIRROR:
            errors.append(_forbidden(key, "may not add mirror pod annotation"))
    return errors + pod_annotation_errors("metadata.annotations", new, pod.get("spec") or {})


def _forbidden(key: str, text: str) -> Any:
    return forbidden_field(f"metadata.annotations[{key}]", text)


def gated_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    """A pod with scheduling gates may be narrowed down to fewer nodes, never the other way."""
    errors: Errors = []
    selector, was = spec.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if not was.items() <= selector.items():
        text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        errors.append(invalid_value("spec.nodeSelector", dict(sorted(selector.items())) or None, text))
    return errors + _affinity_errors(_terms(spec), _terms(before))


def _terms(spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    found: Sequence[Mapping[str, Any]] = (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()
    return found


def _affinity_errors(new: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Errors:
    """``validateNodeAffinityMutation``."""
    field = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    if not before:
        return []
    if len(new) != len(before):
        text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid_value(field, go_list("NodeSelectorTerm", new), text)]
    return [
        invalid_value(
            f"{field}[{index}]",
            go_object("NodeSelectorTerm", now),
            "only additions are allowed (no mutations or deletions)",
        )
        for index, (now, was) in enumerate(zip(new, before, strict=True))
        if not _only_added(now, was)
    ]


def _only_added(new: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    sorts = ("matchExpressions", "matchFields")
    if not any(before.get(sort) for sort in sorts):
        return not any(new.get(sort) for sort in sorts)
    return all((new.get(sort) or [])[: len(before.get(sort) or ())] == (before.get(sort) or []) for sort in sorts)
