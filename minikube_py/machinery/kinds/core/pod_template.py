"""PodTemplate: a template kept for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.pod_defaults import default_pod_template
from minikube_py.machinery.kinds.common.pod_gates import drop_gated_template_fields
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
)
from minikube_py.machinery.kinds.common.setting import child
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import POD_TEMPLATES

DEFINITION = "io.k8s.api.core.v1.PodTemplate"


def fill(template: Object) -> None:
    """The template has a pod's defaults."""
    default_pod_template(child(template, "template"))


def row(template: Mapping[str, Any], now: float) -> tuple[str, str, str, str, str]:
    spec = part(template, "template", "spec")
    labels = part(template, "template", "metadata", "labels")
    return (name(template), container_names(spec), container_images(spec), label_text(labels), age(template, now))


KIND = Kind(
    resource=POD_TEMPLATES,
    singular="podtemplate",
    definition=DEFINITION,
    default=defaults(DEFINITION, fill),
    prepare_create=lambda template: drop_gated_template_fields(template.get("template")),
    prepare_update=lambda template, old: drop_gated_template_fields(template.get("template"), old.get("template")),
    validate=lambda template: pod_template_errors("template", template.get("template") or {}),
    validate_update=lambda new, old: pod_template_errors("template", new.get("template") or {}, old.get("template")),
    warnings=lambda template, old: template_warnings("template", template.get("template") or {}),
    generation=True,
    columns=(
        NAME,
        column("Containers", text=CONTAINERS.description),
        column("Images", text=IMAGES.description),
        column("Pod Labels", text="The labels for the pod template"),
        AGE,
    ),
    row=row,
)
