"""What the controllers of pods share: selectors against templates, replica checks, printer parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import ApiError, FieldError, invalid_value, required
from minikube_py.machinery.kinds.common.checks import not_supported_in_order, percent_of
from minikube_py.machinery.kinds.common.pod_template_validation import pod_template_errors
from minikube_py.machinery.names import dns1123_label_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.selectors import selector_from_label_selector

MISMATCH = "`selector` does not match template `labels`"


def template_labels(template: Mapping[str, Any]) -> Any:
    """The template's labels, sorted as Go prints maps; None when there are none."""
    labels = (template.get("metadata") or {}).get("labels")
    return dict(sorted(labels.items())) if labels else None


def template_match_errors(
    path: str, selector: Mapping[str, Any] | None, template: Mapping[str, Any]
) -> list[FieldError]:
    """The template's labels are selected (``path`` is that of the labels)."""
    try:
        matches = selector is not None and selector_from_label_selector(selector).matches(
            template_labels(template) or {}
        )
    except ApiError:
        return []
    return [] if matches else [invalid_value(path, template_labels(template), MISMATCH)]


def valid_selector(selector: Mapping[str, Any] | None) -> bool:
    """Whether the selector converts (``metav1.LabelSelectorAsSelector``)."""
    try:
        selector_from_label_selector(selector)
    except ApiError:
        return False
    return True


def always_restart_errors(path: str, spec: Mapping[str, Any], kind: str) -> list[FieldError]:
    """Pods of these controllers restart always, and have no deadline; ``kind`` is the one that texts name."""
    errors: list[FieldError] = []
    policy = spec.get("restartPolicy") or ""
    if policy != "Always":
        errors.append(not_supported_in_order(f"{path}.restartPolicy", policy, ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(FieldError("FieldValueForbidden", f"{path}.activeDeadlineSeconds", "", text))
    return errors


def replicated_template_errors(
    path: str,
    template: Object | None,
    selector: Mapping[str, Any] | None,
    replicas: int,
    *,
    kind: str = "ReplicaSet",
) -> list[FieldError]:
    """``ValidatePodTemplateSpecForReplicaSet``, also for Deployments and ReplicationControllers."""
    if template is None:
        return [required(path)]
    errors: list[FieldError] = []
    if selector is None or selector.get("matchLabels") or selector.get("matchExpressions"):
        errors += template_match_errors(f"{path}.metadata.labels", selector, template)
    errors += pod_template_errors(path, template)
    return errors + always_restart_errors(f"{path}.spec", template.get("spec") or {}, kind)


def collision_errors(status: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    """The count of hash collisions never goes back."""
    now, was = status.get("collisionCount"), before.get("collisionCount")
    if was is None or (now is not None and now >= was):
        return []
    return [invalid_value("status.collisionCount", now or 0, "cannot be decremented")]


def int_or_percent_value(value: int | str) -> int:
    """``getIntOrPercentValue``: the number, also of a percentage; 0 for a text that is neither."""
    percent = percent_of(value)
    if percent is not None:
        return percent
    try:
        return int(value)
    except ValueError:
        return 0


def spec_is_new(obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> bool:
    """Whether the object is new or its generation was counted up: warnings of its spec are due."""
    generations = [(each.get("metadata") or {}).get("generation") for each in (obj, old or {})]
    return old is None or generations[0] != generations[1]


NAME_IN_PODS = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
    "a DNS label is recommended: "
)
NAME_IN_HOSTNAME = (
    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
    "a DNS label is recommended: "
)


def name_warnings(obj: Mapping[str, Any], old: Mapping[str, Any] | None, text: str = NAME_IN_PODS) -> list[str]:
    """A new object whose name goes into names of pods had better be called by a DNS label."""
    wrong = [] if old is not None else dns1123_label_errors((obj.get("metadata") or {}).get("name") or "")
    return [f"{text}[{' '.join(wrong)}]"] if wrong else []
