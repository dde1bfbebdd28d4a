"""DaemonSet: one pod on each matching node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
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
from minikube_py.machinery.kinds.common.pod_template_validation import pod_template_errors
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
    label_text,
    name,
    part,
    selector_text,
)
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, immutable
from minikube_py.machinery.kinds.common.workload import (
    always_restart_errors,
    collision_errors,
    int_or_percent_value,
    template_match_errors,
)
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import DAEMON_SETS

DEFINITION = "io.k8s.api.apps.v1.DaemonSet"
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"


def fill(daemon_set: Object) -> None:
    """``SetDefaults_DaemonSet``."""
    spec = child(daemon_set, "spec")
    strategy = child(spec, "updateStrategy")
    set_default(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        set_default(child(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    set_default(spec, revisionHistoryLimit=10)
    default_pod_template(child(spec, "template"))
    # The conversion from the internal form always writes it; 0 until ``prepare_create`` counts.
    child(child(daemon_set, "metadata"), "annotations").setdefault(TEMPLATE_GENERATION, "0")


_reset = fresh_status(DEFINITION)


def prepare_create(daemon_set: Object) -> None:
    """The template's generation, kept in an annotation since apps/v1, starts at 1, or where it was left."""
    _reset(daemon_set)
    noted = child(child(daemon_set, "metadata"), "annotations")
    noted[TEMPLATE_GENERATION] = str(max(_count(noted), 1))


def prepare_update(daemon_set: Object, old: Object) -> None:
    """The template's generation counts its changes."""
    count = _count((old.get("metadata") or {}).get("annotations") or {})
    if (daemon_set.get("spec") or {}).get("template") != (old.get("spec") or {}).get("template"):
        count += 1
    child(child(daemon_set, "metadata"), "annotations")[TEMPLATE_GENERATION] = str(count)


def _count(annotations: Mapping[str, str]) -> int:
    text = annotations.get(TEMPLATE_GENERATION) or "0"
    return int(text) if text.isdigit() else 0


def validate(daemon_set: Object) -> list[FieldError]:
    """``ValidateDaemonSet``."""
    spec = daemon_set.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    errors: list[FieldError] = label_selector_errors("spec.selector", selector)
    errors += template_match_errors("spec.template.metadata.labels", selector, template)
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(invalid_value("spec.selector", {}, "empty selector is invalid for daemonset"))
    errors += pod_template_errors("spec.template", template)
    errors += always_restart_errors("spec.template.spec", template.get("spec") or {}, "DaemonSet")
    errors += non_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    errors += _strategy_errors("spec.updateStrategy", spec.get("updateStrategy") or {})
    return errors + non_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _strategy_errors(path: str, strategy: Mapping[str, Any]) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        shown = go_object("DaemonSetUpdateStrategy", strategy)
        return [not_supported_in_order(path, shown, ("RollingUpdate", "OnDelete"))]
    if rolling is None:
        return [required(f"{path}.rollingUpdate")]
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    field = f"{path}.rollingUpdate"
    pairs = ((f"{field}.maxUnavailable", unavailable), (f"{field}.maxSurge", surge))
    errors = [error for where, value in pairs for error in int_or_percent(where, value)]
    errors += [error for where, value in pairs for error in percent_over_100(where, value)]
    some_unavailable, some_surge = int_or_percent_value(unavailable), int_or_percent_value(surge)
    if not some_unavailable and not some_surge:
        errors.append(required(f"{field}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    if some_unavailable and some_surge:
        text = "may not be set when maxUnavailable is non-zero"
        errors.append(invalid_value(f"{field}.maxSurge", surge, text))
    return errors


def validate_update(daemon_set: Object, old: Object) -> list[FieldError]:
    """``daemonSetStrategy.ValidateUpdate`` checks the spec twice; the selector of apps/v1 is immutable."""
    selectors = [go_selector((obj.get("spec") or {}).get("selector")) for obj in (daemon_set, old)]
    return 2 * validate(daemon_set) + immutable("spec.selector", *selectors)


def validate_status(daemon_set: Object, old: Object) -> list[FieldError]:
    """``ValidateDaemonSetStatusUpdate``: no count is negative."""
    status, before = daemon_set.get("status") or {}, old.get("status") or {}
    errors: list[FieldError] = []
    for field in ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
                  "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable",
                  "collisionCount"):  # fmt: skip
        errors += non_negative(f"status.{field}", status.get(field))
    return errors + collision_errors(status, before)


def warnings(daemon_set: Object, old: Object | None) -> list[str]:
    template = (daemon_set.get("spec") or {}).get("template") or {}
    if old is not None and (old.get("spec") or {}).get("template") == template:
        return []
    return template_warnings("spec.template", template)


def row(daemon_set: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(daemon_set, "spec"), part(daemon_set, "status")
    template = part(spec, "template", "spec")
    return (
        name(daemon_set),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        label_text(template.get("nodeSelector")),
        age(daemon_set, now),
        container_names(template),
        container_images(template),
        selector_text(spec.get("selector")),
    )


KIND = Kind(
    resource=DAEMON_SETS,
    singular="daemonset",
    definition=DEFINITION,
    short_names=("ds",),
    categories=("all",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=gated_create(prepare_create, "spec", "template"),
    prepare_update=gated_update("spec", "template", prepare=prepare_update),
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    extra={"spec_annotation": TEMPLATE_GENERATION},
    columns=(
        NAME,
        column("Desired", f"{_STATUS}.desiredNumberScheduled", type="integer"),
        column("Current", f"{_STATUS}.currentNumberScheduled", type="integer"),
        column("Ready", f"{_STATUS}.numberReady", type="integer"),
        column("Up-to-date", f"{_STATUS}.updatedNumberScheduled", type="integer"),
        column("Available", f"{_STATUS}.numberAvailable", type="integer"),
        column("Node Selector", "io.k8s.api.core.v1.PodSpec.nodeSelector"),
        AGE,
        CONTAINERS,
        IMAGES,
        column("Selector", f"{_SPEC}.selector", wide=True),
    ),
    row=row,
)
