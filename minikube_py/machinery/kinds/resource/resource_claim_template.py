"""ResourceClaimTemplate: makes a ResourceClaim for each pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.metadata import annotation_errors, label_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, name
from minikube_py.machinery.kinds.common.setting import child
from minikube_py.machinery.kinds.common.strategy import IMMUTABLE, defaults
from minikube_py.machinery.kinds.resource.claims import claim_spec_errors, default_claim_spec
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.resource.v1.ResourceClaimTemplate"


def fill(template: Object) -> None:
    default_claim_spec(child(child(template, "spec"), "spec"))


def validate(template: Object) -> list[FieldError]:
    """``ValidateResourceClaimTemplate``."""
    spec = template.get("spec") or {}
    meta = spec.get("metadata") or {}
    errors = label_errors("spec.metadata.labels", meta.get("labels"))
    errors += annotation_errors("spec.metadata.annotations", meta.get("annotations"))
    return errors + claim_spec_errors("spec.spec", spec.get("spec") or {})


def validate_update(template: Object, old: Object) -> list[FieldError]:
    """The spec never changes, so nothing else is looked at."""
    spec = template.get("spec") or {}
    if spec == (old.get("spec") or {}):
        return []
    meta = {key: dict(sorted(value.items())) if isinstance(value, dict) else value
            for key, value in (spec.get("metadata") or {}).items()}  # fmt: skip
    shown = {**meta, "Spec": go_object("ResourceClaimSpec", spec.get("spec") or {})}
    return [invalid_value("spec", shown, IMMUTABLE)]


def row(template: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(template), age(template, now))


KIND = Kind(
    resource=Resource("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate"),
    singular="resourceclaimtemplate",
    definition=DEFINITION,
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=validate_update,
    columns=(NAME, AGE),
    row=row,
)
