"""Endpoints: the addresses behind a Service, the deprecated form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, required
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.checks import (
    ip_texts,
    ip_warnings,
    label,
    non_special_ip_errors,
    one_of,
    port_number,
    qualified_name,
    subdomain,
    texts_as_errors,
)
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.setting import items, set_default
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.objects import Object, labels_of
from minikube_py.machinery.resources import ENDPOINTS

DEFINITION = "io.k8s.api.core.v1.Endpoints"
_SHOWN = 3


def fill(endpoints: Object) -> None:
    """Ports are TCP unless they say otherwise."""
    for subset in items(endpoints, "subsets"):
        for port in items(subset, "ports"):
            set_default(port, protocol="TCP")


def validate(endpoints: Object) -> list[FieldError]:
    """``ValidateEndpointsCreate``."""
    errors: list[FieldError] = []
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        path = f"subsets[{index}]"
        ready, waiting = subset.get("addresses") or [], subset.get("notReadyAddresses") or []
        if not ready and not waiting:
            errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field, addresses in (("addresses", ready), ("notReadyAddresses", waiting)):
            for number, address in enumerate(addresses):
                errors += _address_errors(f"{path}.{field}[{number}]", address)
        ports = subset.get("ports") or []
        for number, port in enumerate(ports):
            errors += _port_errors(f"{path}.ports[{number}]", port, name_required=len(ports) > 1)
    return errors


def _address_errors(path: str, address: Mapping[str, Any]) -> list[FieldError]:
    value = address.get("ip") or ""
    errors = texts_as_errors(f"{path}.ip", value, ip_texts(value))
    if address.get("hostname"):
        errors += label(f"{path}.hostname", address["hostname"])
    if address.get("nodeName") is not None:
        errors += subdomain(f"{path}.nodeName", address["nodeName"])
    return errors + non_special_ip_errors(f"{path}.ip", value)


def _port_errors(path: str, port: Mapping[str, Any], *, name_required: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if name_required and not port.get("name"):
        errors.append(required(f"{path}.name"))
    elif port.get("name"):
        errors += label(f"{path}.name", port["name"])
    errors += port_number(f"{path}.port", port.get("port") or 0)
    if not port.get("protocol"):
        errors.append(required(f"{path}.protocol"))
    else:
        errors += one_of(f"{path}.protocol", port["protocol"], ("TCP", "UDP", "SCTP"))
    if port.get("appProtocol") is not None:
        errors += qualified_name(f"{path}.appProtocol", port["appProtocol"])
    return errors


def validate_update(endpoints: Object, old: Object) -> list[FieldError]:
    """Unchanged subsets are not checked again."""
    return validate(endpoints) if endpoints.get("subsets") != old.get("subsets") else []


def warnings(endpoints: Object, old: Object | None) -> list[str]:
    """The kind is deprecated; addresses that others than its controller write may be written oddly."""
    found = ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]
    if labels_of(endpoints).get("endpoints.kubernetes.io/managed-by") == "endpoint-controller":
        return found
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(field) or ()):
                found += ip_warnings(f"subsets[{index}].{field}[{number}].ip", address.get("ip") or "")
    return found


def row(endpoints: Mapping[str, Any], now: float) -> tuple[str, str, str]:
    return (name(endpoints), _addresses_text(endpoints), age(endpoints, now))


def _addresses_text(endpoints: Mapping[str, Any]) -> str:
    """``formatEndpoints``: the first three address and port pairs, and how many more there are."""
    shown: list[str] = []
    count = 0
    for subset in endpoints.get("subsets") or ():
        ports = subset.get("ports") or ()
        addresses = [_bracketed(entry.get("ip") or "") for entry in subset.get("addresses") or ()]
        pairs = [f"{ip}:{port.get('port')}" for port in ports for ip in addresses] if ports else addresses
        count += len(pairs)
        shown += pairs[: max(0, _SHOWN - len(shown))]
    if not count:
        return "<none>"
    return ",".join(shown) + (f" + {count - _SHOWN} more..." if count > _SHOWN else "")


def _bracketed(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


KIND = Kind(
    resource=ENDPOINTS,
    singular="endpoints",
    definition=DEFINITION,
    short_names=("ep",),
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    create_on_update=True,
    columns=(NAME, column("Endpoints", f"{DEFINITION}.subsets"), AGE),
    row=row,
)
