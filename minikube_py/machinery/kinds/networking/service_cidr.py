"""ServiceCIDR: a range of addresses for Services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import canonical_cidr_errors, parse_cidr
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, joined, name, part
from minikube_py.machinery.kinds.common.strategy import IMMUTABLE, fresh_status, keep_metadata, wire_form
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.networking.v1.ServiceCIDR"


def validate(service_cidr: Object) -> list[FieldError]:
    """``ValidateServiceCIDR``: one or two ranges, of different families."""
    spec = service_cidr.get("spec") or {}
    cidrs: Sequence[str] = spec.get("cidrs") or ()
    if not cidrs:
        return [required("spec.cidrs", "at least one CIDR required")]
    if len(cidrs) > 2:
        shown = go_object("ServiceCIDRSpec", spec)
        return [invalid_value("spec.cidrs", shown, "may only hold up to 2 values")]
    found = [parse_cidr(cidr) for cidr in cidrs]
    if len(cidrs) > 1 and len({network.version for network in found if network is not None}) != len(cidrs):
        text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        return [invalid_value("spec.cidrs", list(cidrs), text)]
    errors: list[FieldError] = []
    for index, cidr in enumerate(cidrs):
        errors += canonical_cidr_errors(f"spec.cidrs[{index}]", cidr)
    return errors


def validate_update(service_cidr: Object, old: Object) -> list[FieldError]:
    """``ValidateServiceCIDRUpdate``: ranges stay; a second one may be added."""
    errors = validate(service_cidr)
    new, before = ((obj.get("spec") or {}).get("cidrs") or [] for obj in (service_cidr, old))
    if len(new) != len(before) and (len(before), len(new)) != (1, 2):
        return [*errors, invalid_value("spec.cidrs", list(new) or None, IMMUTABLE)]
    return errors + [
        invalid_value(f"spec.cidrs[{index}]", cidr, IMMUTABLE)
        for index, (cidr, was) in enumerate(zip(new, before, strict=False))
        if cidr != was
    ]


def row(service_cidr: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(service_cidr), joined(part(service_cidr, "spec").get("cidrs") or ()), age(service_cidr, now))


KIND = Kind(
    resource=Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False),
    singular="servicecidr",
    definition=DEFINITION,
    subresources=(Subresource("status"),),
    default=wire_form(DEFINITION),
    prepare_create=fresh_status(DEFINITION),
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=validate_update,
    has_status=True,
    columns=(NAME, column("CIDRs", f"{DEFINITION}Spec.cidrs"), AGE),
    row=row,
)
