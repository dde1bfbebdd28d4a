"""CSIStorageCapacity: how much a driver can still provision somewhere."""

from __future__ import annotations

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.checks import label_selector_errors, non_negative_quantity, subdomain
from minikube_py.machinery.kinds.common.go_values import go_selector
from minikube_py.machinery.kinds.common.node_labels import node_selector_warnings
from minikube_py.machinery.kinds.common.strategy import immutable, wire_form
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.storage.v1.CSIStorageCapacity"


def validate(capacity: Object) -> list[FieldError]:
    """``ValidateCSIStorageCapacity``."""
    errors = label_selector_errors("nodeTopology", capacity.get("nodeTopology"))
    errors += subdomain("storageClassName", capacity.get("storageClassName") or "")
    if capacity.get("capacity") is not None:
        errors += non_negative_quantity("capacity", capacity["capacity"])
    return errors


def validate_update(capacity: Object, old: Object) -> list[FieldError]:
    """Where and for which class never changes."""
    errors = validate(capacity)
    errors += immutable("nodeTopology", *(go_selector(each.get("nodeTopology")) for each in (capacity, old)))
    return errors + immutable("storageClassName", capacity.get("storageClassName"), old.get("storageClassName"))


def warnings(capacity: Object, old: Object | None) -> list[str]:
    """A topology that asks for deprecated labels of nodes."""
    return list(node_selector_warnings("nodeTopology", capacity.get("nodeTopology")))


KIND = Kind(
    resource=Resource("storage.k8s.io", "v1", "csistoragecapacities", "CSIStorageCapacity"),
    singular="csistoragecapacity",
    definition=DEFINITION,
    default=wire_form(DEFINITION),
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    unconditional_update=False,
)
