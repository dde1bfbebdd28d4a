"""CSINode: the storage drivers of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import Errors, qualified_name
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.podspec.volumes import driver_name_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import immutable, keeping_empty, wire_form
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CSI_NODES

DEFINITION = "io.k8s.api.storage.v1.CSINode"
_MAX_ID = 256


def validate(node: Object) -> list[FieldError]:
    """``ValidateCSINode``."""
    errors: Errors = []
    names: set[str] = set()
    for index, driver in enumerate((node.get("spec") or {}).get("drivers") or ()):
        errors += _driver_errors(f"spec.drivers[{index}]", driver, names)
    return errors


def _driver_errors(path: str, driver: Mapping[str, Any], names: set[str]) -> Errors:
    called, identity = driver.get("name") or "", driver.get("nodeID") or ""
    errors = driver_name_errors(f"{path}.name", called)
    if not identity:
        errors.append(required(f"{path}.nodeID"))
    elif len(identity) > _MAX_ID:
        errors.append(invalid_value(f"{path}.nodeID", identity, f"must be {_MAX_ID} characters or less"))
    count = (driver.get("allocatable") or {}).get("count")
    if count is not None and count < 0:
        text = "must be greater than or equal to 0"
        errors.append(invalid_value(f"{path}.allocatable.count", count, text))
    if called in names:
        errors.append(duplicate(f"{path}.name", called))
    names.add(called)
    keys: Sequence[str] = driver.get("topologyKeys") or ()
    for index, key in enumerate(keys):
        if not key:
            errors.append(required(path))
        if key in keys[:index]:
            errors.append(duplicate(path, key))
        errors += qualified_name(path, key)
    return errors


def validate_update(node: Object, old: Object) -> list[FieldError]:
    """``ValidateCSINodeUpdate``: a driver that is there does not change."""
    errors = validate(node)
    drivers, before = ((obj.get("spec") or {}).get("drivers") or () for obj in (node, old))
    pairs = ((now, was) for was in before for now in drivers if now.get("name") == was.get("name"))
    for now, was in pairs:
        fixed = [go_object("CSINodeDriver", {**driver, "allocatable": None}) for driver in (now, was)]
        errors += immutable("spec.drivers", *fixed)
    return errors


def row(node: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(node), len(part(node, "spec").get("drivers") or ()), age(node, now))


_default, _prepare = keeping_empty(wire_form(DEFINITION), "spec", "drivers")

KIND = Kind(
    resource=CSI_NODES,
    singular="csinode",
    definition=DEFINITION,
    default=_default,
    prepare_create=_prepare,
    prepare_update=lambda new, old: _prepare(new),
    validate=validate,
    validate_update=validate_update,
    unconditional_update=False,
    columns=(
        NAME,
        column("Drivers", text="Drivers indicates the number of CSI drivers registered on the node", type="integer"),
        AGE,
    ),
    row=row,
)
