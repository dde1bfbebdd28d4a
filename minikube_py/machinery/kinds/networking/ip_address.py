"""IPAddress: an address that a Service holds; its name is the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import ip_texts, named, parse_ip
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.printing import NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import immutable, wire_form
from minikube_py.machinery.names import dns1123_subdomain_errors, path_segment_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.networking.v1.IPAddress"


def name_errors(text: str, prefix: bool) -> list[str]:
    """``ValidateIPAddressName``: the canonical form of an address."""
    wrong, address = ip_texts(text), parse_ip(text)
    return wrong if wrong or str(address) == text else [f'must be in canonical form ("{address}")']


def validate(address: Object) -> list[FieldError]:
    """``ValidateIPAddress``: somebody holds the address."""
    parent = (address.get("spec") or {}).get("parentRef")
    if parent is None:
        return [required("spec.parentRef")]
    path = "spec.parentRef"
    errors: list[FieldError] = []
    if parent.get("group"):
        errors += named(f"{path}.group", parent["group"], dns1123_subdomain_errors)
    if not parent.get("resource"):
        errors.append(required(f"{path}.resource"))
    else:
        errors += named(f"{path}.resource", parent["resource"], path_segment_errors)
    if not parent.get("name"):
        errors.append(required(f"{path}.name"))
    else:
        errors += named(f"{path}.name", parent["name"], path_segment_errors)
    if parent.get("namespace"):
        errors += named(f"{path}.namespace", parent["namespace"], path_segment_errors)
    return errors


def validate_update(address: Object, old: Object) -> list[FieldError]:
    """The holder never changes."""
    parents = [go_object("ParentReference", (obj.get("spec") or {}).get("parentRef")) for obj in (address, old)]
    return validate(address) + immutable("spec.parentRef", *parents)


def row(address: Mapping[str, Any], now: float) -> Sequence[Cell]:
    parent = part(address, "spec", "parentRef")
    resource = ".".join(part_ for part_ in (parent.get("resource"), parent.get("group")) if part_)
    where = "/".join(part_ for part_ in (parent.get("namespace"), parent.get("name")) if part_)
    return (name(address), f"{resource}/{where}" if parent else "<none>", age(address, now))


KIND = Kind(
    resource=Resource("networking.k8s.io", "v1", "ipaddresses", "IPAddress", namespaced=False),
    singular="ipaddress",
    definition=DEFINITION,
    short_names=("ip",),
    default=wire_form(DEFINITION),
    validate=validate,
    validate_update=validate_update,
    name_errors=name_errors,
    columns=(NAME, column("ParentRef", f"{DEFINITION}Spec.parentRef")),  # Kubernetes' rows have a third cell, the age
    row=row,
)
