"""VolumeAttributesClass: attributes of volumes that may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import qualified_name
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.strategy import immutable, wire_form
from minikube_py.machinery.kinds.storage.storage_class import fixed_parameters, parameter_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.storage.v1.VolumeAttributesClass"


def validate(attributes: Object) -> list[FieldError]:
    """``ValidateVolumeAttributesClass``."""
    driver, parameters = attributes.get("driverName") or "", attributes.get("parameters") or {}
    errors = qualified_name("driverName", driver.lower()) if driver else [required("driverName")]
    if not parameters:
        return [*errors, required("parameters", "must contain at least one key/value pair")]
    return errors + parameter_errors(parameters)


def validate_update(attributes: Object, old: Object) -> list[FieldError]:
    """Nothing but metadata changes; the strategy checks the whole before and after that."""
    errors = validate(attributes)
    fixed = immutable("driverName", attributes.get("driverName"), old.get("driverName"))
    return errors + fixed + fixed_parameters(attributes, old) + errors


def row(attributes: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(attributes), attributes.get("driverName") or "", age(attributes, now))


KIND = Kind(
    resource=Resource("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", namespaced=False),
    singular="volumeattributesclass",
    definition=DEFINITION,
    short_names=("vac",),
    default=wire_form(DEFINITION),
    validate=validate,
    validate_update=validate_update,
    columns=(NAME, column("DriverName", f"{DEFINITION}.driverName"), AGE),
    row=row,
)
