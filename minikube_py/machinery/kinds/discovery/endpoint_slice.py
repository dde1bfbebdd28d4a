"""EndpointSlice: a part of the addresses behind a Service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, required, too_many
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    ip_texts,
    ip_warnings,
    label,
    non_special_ip_errors,
    one_of,
    parse_ip,
    port_number,
    qualified_name,
    subdomain,
    texts_as_errors,
)
from minikube_py.machinery.kinds.common.metadata import label_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, joined, name
from minikube_py.machinery.kinds.common.setting import items, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, immutable, keeping_empty
from minikube_py.machinery.names import dns1123_subdomain_errors, label_value_errors
from minikube_py.machinery.objects import Object, labels_of
from minikube_py.machinery.resources import ENDPOINT_SLICES

DEFINITION = "io.k8s.api.discovery.v1.EndpointSlice"
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_TOPOLOGY = 16
_MAX_HINTS = 8
_SHOWN = 3


def fill(endpoint_slice: Object) -> None:
    """Ports are TCP and have an empty name unless they say otherwise."""
    for port in items(endpoint_slice, "ports"):
        set_default(port, name="", protocol="TCP")


_default, _prepare = keeping_empty(defaults(DEFINITION, fill), "endpoints")


def prepare_create(endpoint_slice: Object) -> None:
    _prepare(endpoint_slice)
    _drop_topology(endpoint_slice, {})


def prepare_update(endpoint_slice: Object, old: Object) -> None:
    """Labels count as content: ``generation`` follows them as it follows endpoints and ports."""
    _prepare(endpoint_slice)
    labels, before = endpoint_slice["metadata"].get("labels") or {}, old["metadata"].get("labels") or {}
    changed = endpoint_slice.get("endpoints") != old.get("endpoints")
    if labels != before or changed:
        endpoint_slice["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1
    if changed:
        _drop_topology(endpoint_slice, old)


def _drop_topology(endpoint_slice: Object, old: Mapping[str, Any]) -> None:
    """``dropTopologyOnV1``: the deprecated field goes; a node that only it told, as stored before, is kept."""
    known = {_topology_node(endpoint) for endpoint in old.get("endpoints") or ()}
    for endpoint in items(endpoint_slice, "endpoints"):
        node = _topology_node(endpoint)
        if (
            endpoint.get("nodeName") is None
            and node is not None
            and node in known
            and not dns1123_subdomain_errors(node)
        ):
            endpoint["nodeName"] = node
        endpoint.pop("deprecatedTopology", None)


def _topology_node(endpoint: Mapping[str, Any]) -> str | None:
    node: str | None = (endpoint.get("deprecatedTopology") or {}).get("kubernetes.io/hostname")
    return node


def validate(endpoint_slice: Object) -> list[FieldError]:
    return _slice_errors(endpoint_slice, frozenset())


def _slice_errors(endpoint_slice: Object, stored: Set[str]) -> Errors:
    """``ValidateEndpointSlice``; addresses that are stored already may be written oddly."""
    kind = endpoint_slice.get("addressType") or ""
    errors: Errors = one_of("addressType", kind, ("FQDN", "IPv4", "IPv6")) if kind else [required("addressType")]
    endpoints = endpoint_slice.get("endpoints") or ()
    if len(endpoints) > _MAX_ENDPOINTS:
        return [*errors, too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)]
    for index, endpoint in enumerate(endpoints):
        errors += _endpoint_errors(f"endpoints[{index}]", endpoint, kind, stored)
    return errors + _port_errors("ports", endpoint_slice.get("ports") or ())


def _endpoint_errors(path: str, endpoint: Mapping[str, Any], kind: str, stored: Set[str]) -> Errors:
    addresses = endpoint.get("addresses") or ()
    errors: Errors = []
    if not addresses:
        errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        errors.append(too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES))
    for index, address in enumerate(addresses):
        errors += _address_errors(f"{path}.addresses", index, address, kind, stored)
    if endpoint.get("nodeName") is not None:
        errors += subdomain(f"{path}.nodeName", endpoint["nodeName"])
    topology: Mapping[str, str] = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        errors.append(too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    errors += label_errors(f"{path}.deprecatedTopology", topology)
    if endpoint.get("hostname") is not None:
        errors += label(f"{path}.hostname", endpoint["hostname"])
    return errors + _hint_errors(f"{path}.hints", endpoint.get("hints") or {})


def _hint_errors(path: str, hints: Mapping[str, Any]) -> Errors:
    """Zones are named like values of labels, nodes like nodes; none twice."""
    errors: Errors = []
    for kind, check in (("forZones", label_value_errors), ("forNodes", dns1123_subdomain_errors)):
        listed = hints.get(kind) or ()
        if len(listed) > _MAX_HINTS:
            return [*errors, too_many(f"{path}.{kind}", len(listed), _MAX_HINTS)]
        seen: set[str] = set()
        for index, hint in enumerate(listed):
            called, field = hint.get("name") or "", f"{path}.{kind}[{index}].name"
            if called in seen:
                errors.append(duplicate(field, called))
            seen.add(called)
            errors += texts_as_errors(field, called, check(called))
    return errors


def _address_errors(path: str, index: int, address: str, kind: str, stored: Set[str]) -> Errors:
    field = f"{path}[{index}]"
    if kind == "FQDN":
        return subdomain(field, address.removesuffix("."))
    if kind not in ("IPv4", "IPv6"):
        return []
    texts = ip_texts(address, stored)
    found = parse_ip(address)
    if texts or found is None:
        return texts_as_errors(field, address, texts)
    foreign: Errors = [invalid_value(path, address, f"must be an {kind} address")]
    return (foreign if f"IPv{found.version}" != kind else []) + non_special_ip_errors(field, address)


def _port_errors(path: str, ports: Sequence[Mapping[str, Any]]) -> Errors:
    if len(ports) > _MAX_PORTS:
        return [too_many(path, len(ports), _MAX_PORTS)]
    errors: Errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        field, called = f"{path}[{index}]", port.get("name") or ""
        if called:
            errors += label(f"{field}.name", called)
        if called in names:
            errors.append(duplicate(f"{field}.name", called))
        names.add(called)
        if port.get("port") is not None:
            errors += port_number(f"{field}.port", port["port"])
        protocol = port.get("protocol")
        if not protocol:
            errors.append(required(f"{field}.protocol"))
        else:
            errors += one_of(f"{field}.protocol", protocol, ("SCTP", "TCP", "UDP"))
        if port.get("appProtocol") is not None:
            errors += qualified_name(f"{field}.appProtocol", port["appProtocol"])
    return errors


def validate_update(endpoint_slice: Object, old: Object) -> list[FieldError]:
    """The type of addresses never changes."""
    stored = {address for endpoint in old.get("endpoints") or () for address in endpoint.get("addresses") or ()}
    errors = _slice_errors(endpoint_slice, stored)
    return errors + immutable("addressType", endpoint_slice.get("addressType"), old.get("addressType"))


_OWN_WRITERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")


def warnings(endpoint_slice: Object, old: Object | None) -> list[str]:
    """Names as addresses are deprecated; addresses of others than the controllers may be written oddly."""
    found = []
    if old is None and endpoint_slice.get("addressType") == "FQDN":
        found.append("spec.addressType: FQDN endpoints are deprecated")
    if labels_of(endpoint_slice).get("endpointslice.kubernetes.io/managed-by") in _OWN_WRITERS:
        return found
    for index, endpoint in enumerate(endpoint_slice.get("endpoints") or ()):
        for number, address in enumerate(endpoint.get("addresses") or ()):
            found += ip_warnings(f"endpoints[{index}].addresses[{number}]", address)
    return found


def row(endpoint_slice: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (
        name(endpoint_slice),
        endpoint_slice.get("addressType") or "",
        _ports_text(endpoint_slice.get("ports") or ()),
        _endpoints_text(endpoint_slice.get("endpoints") or ()),
        age(endpoint_slice, now),
    )


def _ports_text(ports: Sequence[Mapping[str, Any]]) -> str:
    if not ports:
        return "<unset>"
    shown = [str(port["port"]) if port.get("port") is not None else "*" for port in ports[:_SHOWN]]
    return joined(shown) + (f" + {len(ports) - _SHOWN} more..." if len(ports) > _SHOWN else "")


def _endpoints_text(endpoints: Sequence[Mapping[str, Any]]) -> str:
    if not endpoints:
        return "<unset>"
    addresses = [address for endpoint in endpoints for address in endpoint.get("addresses") or ()]
    more = len(addresses) - _SHOWN
    return joined(addresses[:_SHOWN]) + (f" + {more} more..." if more > 0 else "")


KIND = Kind(
    resource=ENDPOINT_SLICES,
    singular="endpointslice",
    definition=DEFINITION,
    default=_default,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    generation=True,
    columns=(
        NAME,
        column("AddressType", f"{DEFINITION}.addressType"),
        column("Ports", f"{DEFINITION}.ports"),
        column("Endpoints", f"{DEFINITION}.endpoints"),
        AGE,
    ),
    row=row,
)
