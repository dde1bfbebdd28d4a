"""ReplicaSet: keeps a number of equal pods running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Scale, Subresource
from minikube_py.machinery.kinds.common.checks import label_selector_errors, non_negative
from minikube_py.machinery.kinds.common.go_values import go_selector
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
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, immutable
from minikube_py.machinery.kinds.common.workload import name_warnings, replicated_template_errors, spec_is_new
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import REPLICA_SETS

DEFINITION = "io.k8s.api.apps.v1.ReplicaSet"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"


def fill(replica_set: Object) -> None:
    """One replica; the template has a pod's defaults."""
    spec = child(replica_set, "spec")
    set_default(spec, replicas=1)
    default_pod_template(child(spec, "template"))


def validate(replica_set: Object) -> list[FieldError]:
    """``ValidateReplicaSet``."""
    spec = replica_set.get("spec") or {}
    selector = spec.get("selector")
    errors = non_negative("spec.replicas", spec.get("replicas"))
    errors += non_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += label_selector_errors("spec.selector", selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(invalid_value("spec.selector", {}, "empty selector is invalid for deployment"))
    return errors + replicated_template_errors(
        "spec.template", spec.get("template") or {}, selector, spec.get("replicas") or 0
    )


def validate_update(replica_set: Object, old: Object) -> list[FieldError]:
    """``rsStrategy.ValidateUpdate`` checks the spec twice; the selector of apps/v1 is immutable."""
    selectors = [go_selector((obj.get("spec") or {}).get("selector")) for obj in (replica_set, old)]
    return 2 * validate(replica_set) + immutable("spec.selector", *selectors)


def validate_status(replica_set: Object, old: Object) -> list[FieldError]:
    """``ValidateReplicaSetStatusUpdate``: counts fit each other."""
    status = replica_set.get("status") or {}
    counts = {field: status.get(field) or 0 for field in _COUNTS}
    errors: list[FieldError] = []
    for field in (*_COUNTS, "terminatingReplicas", "observedGeneration"):
        errors += non_negative(f"status.{field}", status.get(field))
    for field in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"):
        if counts[field] > counts["replicas"]:
            errors.append(invalid_value(f"status.{field}", counts[field], "cannot be greater than status.replicas"))
    if counts["availableReplicas"] > counts["readyReplicas"]:
        text = "cannot be greater than readyReplicas"
        errors.append(invalid_value("status.availableReplicas", counts["availableReplicas"], text))
    return errors


_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def warnings(replica_set: Object, old: Object | None) -> list[str]:
    template = (replica_set.get("spec") or {}).get("template") or {}
    if not spec_is_new(replica_set, old):
        return []
    return [*name_warnings(replica_set, old), *template_warnings("spec.template", template)]


def row(replica_set: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(replica_set, "spec"), part(replica_set, "status")
    template = part(spec, "template", "spec")
    return (
        name(replica_set),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(replica_set, now),
        container_names(template),
        container_images(template),
        selector_text(spec.get("selector")),
    )


KIND = Kind(
    resource=REPLICA_SETS,
    singular="replicaset",
    definition=DEFINITION,
    short_names=("rs",),
    categories=("all",),
    subresources=(Subresource("scale", kind="Scale", group="autoscaling", version="v1"), Subresource("status")),
    scale=Scale(),
    default=defaults(DEFINITION, fill),
    prepare_create=gated_create(fresh_status(DEFINITION), "spec", "template"),
    prepare_update=gated_update("spec", "template"),
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    columns=(
        NAME,
        column("Desired", f"{_SPEC}.replicas", type="integer"),
        column("Current", f"{_STATUS}.replicas", type="integer"),
        column("Ready", f"{_STATUS}.readyReplicas", type="integer"),
        AGE,
        CONTAINERS,
        IMAGES,
        column("Selector", f"{_SPEC}.selector", wide=True),
    ),
    row=row,
)
