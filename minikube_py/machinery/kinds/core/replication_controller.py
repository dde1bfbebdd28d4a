"""ReplicationController: the old form of a ReplicaSet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Scale, Subresource
from minikube_py.machinery.kinds.common.checks import non_negative
from minikube_py.machinery.kinds.common.pod_defaults import default_pod_template
from minikube_py.machinery.kinds.common.pod_gates import drop_gated_template_fields
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
)
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.kinds.common.workload import name_warnings, replicated_template_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import REPLICATION_CONTROLLERS

DEFINITION = "io.k8s.api.core.v1.ReplicationController"
SPEC, STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"


def fill(controller: Object) -> None:
    """Selector and labels follow from the template's labels; one replica."""
    spec = child(controller, "spec")
    template = spec.get("template")
    if template is not None:
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            set_default(spec, selector=dict(labels))
            set_default(child(controller, "metadata"), labels=dict(labels))
        default_pod_template(template)
    set_default(spec, replicas=1)


_fresh_status = fresh_status(DEFINITION)


def prepare_create(controller: Object) -> None:
    """A new controller has no status yet, and no fields that are switched off."""
    _fresh_status(controller)
    drop_gated_template_fields(controller["spec"].get("template"))


def prepare_update(controller: Object, old: Object) -> None:
    """Fields that are switched off stay only where they are in use."""
    template, before = ((found.get("spec") or {}).get("template") for found in (controller, old))
    drop_gated_template_fields(template, before)


def validate(controller: Object) -> list[FieldError]:
    """``ValidateReplicationController``."""
    spec = controller.get("spec") or {}
    errors = non_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    selector = spec.get("selector") or {}
    if not selector:
        errors.append(required("spec.selector"))
    errors += non_negative("spec.replicas", spec.get("replicas"))
    replicas = spec.get("replicas") or 0
    return errors + replicated_template_errors(
        "spec.template", spec.get("template"), {"matchLabels": selector}, replicas, kind="ReplicationController"
    )


_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


def validate_status(controller: Object, old: Object) -> list[FieldError]:
    """``ValidateReplicationControllerStatus``: no count is below zero, and parts are no more than the whole."""
    status = controller.get("status") or {}
    counts = {name_: status.get(name_) or 0 for name_ in _COUNTS}
    errors: list[FieldError] = []
    for name_, count in counts.items():
        errors += non_negative(f"status.{name_}", count)
    for name_ in _COUNTS[1:4]:
        if counts[name_] > counts["replicas"]:
            errors.append(invalid_value(f"status.{name_}", counts[name_], "cannot be greater than status.replicas"))
    if counts["availableReplicas"] > counts["readyReplicas"]:
        text = "cannot be greater than readyReplicas"
        errors.append(invalid_value("status.availableReplicas", counts["availableReplicas"], text))
    return errors


def warnings(controller: Object, old: Object | None) -> list[str]:
    """An update warns of its template when it changes the generation."""
    if old is not None and controller["metadata"].get("generation") == old["metadata"].get("generation"):
        return []
    template = (controller.get("spec") or {}).get("template") or {}
    return [*name_warnings(controller, old), *template_warnings("spec.template", template)]


def row(controller: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(controller, "spec"), part(controller, "status")
    template = part(spec, "template", "spec")
    return (
        name(controller),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(controller, now),
        container_names(template),
        container_images(template),
        label_text(spec.get("selector")),
    )


KIND = Kind(
    resource=REPLICATION_CONTROLLERS,
    singular="replicationcontroller",
    definition=DEFINITION,
    short_names=("rc",),
    categories=("all",),
    subresources=(Subresource("scale", kind="Scale", group="autoscaling", version="v1"), Subresource("status")),
    scale=Scale(),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=lambda new, old: validate(new) * 2,  # as the strategy does
    validate_status=validate_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    default_propagation="Orphan",
    columns=(
        NAME,
        column("Desired", f"{SPEC}.replicas", type="integer"),
        column("Current", f"{STATUS}.replicas", type="integer"),
        column("Ready", f"{STATUS}.readyReplicas", type="integer"),
        AGE,
        CONTAINERS,
        IMAGES,
        column("Selector", f"{SPEC}.selector", wide=True),
    ),
    row=row,
    selectable={"status.replicas": lambda controller: str(part(controller, "status").get("replicas") or 0)},
    extra={"unsupported_field": "field label not supported: {field}"},
)
