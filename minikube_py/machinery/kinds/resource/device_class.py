"""DeviceClass: a sort of devices that claims may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, name
from minikube_py.machinery.kinds.common.resource_names import is_extended
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.kinds.resource.claims import MAX_ENTRIES, selectors_errors
from minikube_py.machinery.kinds.resource.names import configuration_errors, limited
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.resource.v1.DeviceClass"


def validate(device_class: Object) -> list[FieldError]:
    """``ValidateDeviceClass``."""
    spec = device_class.get("spec") or {}
    errors = selectors_errors("spec.selectors", spec.get("selectors") or ())
    errors += limited("spec.config", spec.get("config") or (), MAX_ENTRIES, configuration_errors)
    extended = spec.get("extendedResourceName")
    if extended is not None and not is_extended(extended):
        errors.append(invalid_value("spec.extendedResourceName", extended, "must be a valid extended resource name"))
    return errors


def row(device_class: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(device_class), age(device_class, now))


KIND = Kind(
    resource=Resource("resource.k8s.io", "v1", "deviceclasses", "DeviceClass", namespaced=False),
    singular="deviceclass",
    definition=DEFINITION,
    default=wire_form(DEFINITION),
    validate=validate,
    validate_update=lambda new, old: validate(new),
    generation=True,
    columns=(NAME, AGE),
    row=row,
)
