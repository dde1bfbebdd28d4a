"""ReplicationController: the old form of a ReplicaSet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, required
from minikube_py.machinery.kind import Cell, Kind, Scale, Subresource
from minikube_py.machinery.kinds.common.checks import non_negative
from minikube_py.machinery.kinds.common.pod_defaults import default_pod_template
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


def warnings(controller: Object, old: Object | None) -> list[str]:
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
    prepare_create=fresh_status(DEFINITION),
    validate=validate,
    validate_update=lambda new, old: validate(new),
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
