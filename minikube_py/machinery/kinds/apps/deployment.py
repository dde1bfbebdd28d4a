"""Deployment: rolls a template out through ReplicaSets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Scale, Subresource
from minikube_py.machinery.kinds.common.checks import (
    int_or_percent,
    label_selector_errors,
    non_negative,
    not_supported_in_order,
    percent_over_100,
)
from minikube_py.machinery.kinds.common.go_values import go_object, go_selector
from minikube_py.machinery.kinds.common.pod_defaults import default_pod_template
from minikube_py.machinery.kinds.common.pod_gates import gated_create, gated_update
from minikube_py.machinery.kinds.common.pod_template_warnings import template_warnings
from minikube_py.machinery.kinds.common.printing import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    age,
    column,
    container_images,
    container_names,
    name,
    part,
    selector_text,
)
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, immutable, keep_labels
from minikube_py.machinery.kinds.common.workload import (
    collision_errors,
    int_or_percent_value,
    name_warnings,
    replicated_template_errors,
    spec_is_new,
    valid_selector,
)
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import DEPLOYMENTS

DEFINITION = "io.k8s.api.apps.v1.Deployment"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"
PROGRESS_DEADLINE_SECONDS = 600
REVISION_HISTORY = 10


def fill(deployment: Object) -> None:
    """``SetDefaults_Deployment``."""
    spec = child(deployment, "spec")
    set_default(
        spec, replicas=1, revisionHistoryLimit=REVISION_HISTORY, progressDeadlineSeconds=PROGRESS_DEADLINE_SECONDS
    )
    strategy = child(spec, "strategy")
    set_default(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        set_default(child(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    default_pod_template(child(spec, "template"))


def validate(deployment: Object) -> list[FieldError]:
    """``ValidateDeployment``."""
    spec = deployment.get("spec") or {}
    selector = spec.get("selector")
    errors = non_negative("spec.replicas", spec.get("replicas"))
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += label_selector_errors("spec.selector", selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(invalid_value("spec.selector", {}, "empty selector is invalid for deployment"))
    if selector is not None and not valid_selector(selector):
        errors.append(invalid_value("spec.selector", go_selector(selector), "invalid label selector"))
    else:
        template = spec.get("template") or {}
        errors += replicated_template_errors("spec.template", template, selector, spec.get("replicas") or 0)
    errors += _strategy_errors("spec.strategy", spec.get("strategy") or {})
    errors += non_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    errors += non_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        errors += non_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= (spec.get("minReadySeconds") or 0):
            errors.append(
                invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
            )
    return errors


def _strategy_errors(path: str, strategy: Mapping[str, Any]) -> list[FieldError]:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            text = "may not be specified when strategy `type` is 'Recreate'"
            return [forbidden_field(f"{path}.rollingUpdate", text)]
        return []
    if kind != "RollingUpdate":
        shown = go_object("DeploymentStrategy", strategy)
        return [not_supported_in_order(path, shown, ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
    return _rolling_errors(f"{path}.rollingUpdate", rolling)


def _rolling_errors(path: str, rolling: Mapping[str, Any]) -> list[FieldError]:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = int_or_percent(f"{path}.maxUnavailable", unavailable)
    errors += int_or_percent(f"{path}.maxSurge", surge)
    if not int_or_percent_value(unavailable) and not int_or_percent_value(surge):
        errors.append(invalid_value(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + percent_over_100(f"{path}.maxUnavailable", unavailable)


def validate_update(deployment: Object, old: Object) -> list[FieldError]:
    """The selector of apps/v1 is immutable."""
    selectors = [go_selector((obj.get("spec") or {}).get("selector")) for obj in (deployment, old)]
    return validate(deployment) + immutable("spec.selector", *selectors)


def validate_status(deployment: Object, old: Object) -> list[FieldError]:
    """``ValidateDeploymentStatus``: counts fit each other."""
    status, before = deployment.get("status") or {}, old.get("status") or {}
    errors: list[FieldError] = []
    for field in ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
                  "unavailableReplicas", "terminatingReplicas", "collisionCount"):  # fmt: skip
        errors += non_negative(f"status.{field}", status.get(field))
    total, ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
    for field in ("updatedReplicas", "readyReplicas", "availableReplicas"):
        if (status.get(field) or 0) > total:
            errors.append(invalid_value(f"status.{field}", status[field], "cannot be greater than status.replicas"))
    if (status.get("availableReplicas") or 0) > ready:
        text = "cannot be greater than readyReplicas"
        errors.append(invalid_value("status.availableReplicas", status["availableReplicas"], text))
    return errors + collision_errors(status, before)


def warnings(deployment: Object, old: Object | None) -> list[str]:
    """Warnings of the template, when anything of the spec or of the annotations is new."""
    template = (deployment.get("spec") or {}).get("template") or {}
    if not spec_is_new(deployment, old):
        return []
    return [*name_warnings(deployment, old), *template_warnings("spec.template", template)]


def row(deployment: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(deployment, "spec"), part(deployment, "status")
    template = part(spec, "template", "spec")
    return (
        name(deployment),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(deployment, now),
        container_names(template),
        container_images(template),
        selector_text(spec.get("selector")),
    )


KIND = Kind(
    resource=DEPLOYMENTS,
    singular="deployment",
    definition=DEFINITION,
    short_names=("deploy",),
    categories=("all",),
    subresources=(Subresource("scale", kind="Scale", group="autoscaling", version="v1"), Subresource("status")),
    scale=Scale(),
    default=defaults(DEFINITION, fill),
    prepare_create=gated_create(fresh_status(DEFINITION), "spec", "template"),
    prepare_update=gated_update("spec", "template"),
    prepare_status=keep_labels,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    columns=(
        NAME,
        column("Ready", text="Number of the pod with ready state"),
        column("Up-to-date", f"{_STATUS}.updatedReplicas"),
        column("Available", f"{_STATUS}.availableReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        column("Selector", f"{_SPEC}.selector", wide=True),
    ),
    row=row,
)
