"""Service: a stable address for a set of pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import parse_ip
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, label_text, name, part
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.kinds.core import service_strategy, service_validation
from minikube_py.machinery.kinds.core.service_strategy import DEFINITION
from minikube_py.machinery.names import name_is_dns_label
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import SERVICES

_SPEC = f"{DEFINITION}Spec"


def warnings(service: Object, old: Object | None) -> list[str]:
    """Deprecated fields, and addresses that may be ambiguous."""
    spec, meta = part(service, "spec"), part(service, "metadata")
    found = []
    if "service.kubernetes.io/topology-aware-hints" in (meta.get("annotations") or {}):
        found.append("metadata.annotations[service.kubernetes.io/topology-aware-hints]: deprecated; "
                     "use trafficDistribution")  # fmt: skip
    if (spec.get("clusterIPs") or [""])[0] == service_strategy.HEADLESS:
        for field in ("loadBalancerIP", "externalIPs", "sessionAffinity"):
            value = spec.get(field)
            if value and value != "None":
                text = (
                    "ignored for headless services"
                    if field == "sessionAffinity"
                    else (f'{field} is ignored when clusterIP is "None"')
                )
                found.append(f"spec.{'SessionAffinity' if field == 'sessionAffinity' else field}: {text}")
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    for field in ("externalIPs", "clusterIPs"):
        found += [text for ip in spec.get(field) or () for text in _address_warnings(f"spec.{field}", ip)]
    return found


def _address_warnings(path: str, ip: str) -> list[str]:
    address = parse_ip(ip)
    if address is not None and address.version == 6 and str(address) != ip:
        return [f"{path}: IPv6 address {ip!r} should be in RFC 5952 canonical format ({str(address)!r})"]
    return []


def row(service: Mapping[str, Any], now: float) -> Sequence[Cell]:
    """``printService``."""
    spec = part(service, "spec")
    ips = spec.get("clusterIPs") or ()
    return (
        name(service),
        spec.get("type") or "",
        ips[0] if ips else "<none>",
        _external_ips(service, spec),
        ",".join(_port_text(port) for port in spec.get("ports") or ()) or "<none>",
        age(service, now),
        label_text(spec.get("selector")),
    )


def _port_text(port: Mapping[str, Any]) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol')}"


def _external_ips(service: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    kind, addresses = spec.get("type"), list(spec.get("externalIPs") or ())
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(addresses) or "<none>"
    if kind == "LoadBalancer":
        ingress = part(service, "status", "loadBalancer").get("ingress") or ()
        balanced = [entry.get("ip") or entry.get("hostname") or "" for entry in ingress]
        return ",".join([entry for entry in balanced if entry] + addresses) or "<pending>"
    return str(spec.get("externalName") or "") if kind == "ExternalName" else "<unknown>"


KIND = Kind(
    resource=SERVICES,
    singular="service",
    definition=DEFINITION,
    short_names=("svc",),
    categories=("all",),
    subresources=(
        Subresource("proxy", ("create", "delete", "get", "patch", "update"), kind="ServiceProxyOptions"),
        Subresource("status"),
    ),
    default=defaults(DEFINITION, service_strategy.fill),
    prepare_create=service_strategy.prepare_create,
    prepare_update=service_strategy.prepare_update,
    validate=service_validation.validate,
    validate_update=service_validation.validate_update,
    validate_status=service_validation.validate_status,
    warnings=warnings,
    name_errors=name_is_dns_label,
    has_status=True,
    create_on_update=True,
    columns=(
        NAME,
        column("Type", f"{_SPEC}.type"),
        column("Cluster-IP", f"{_SPEC}.clusterIP"),
        column("External-IP", f"{_SPEC}.externalIPs"),
        column("Port(s)", f"{_SPEC}.ports"),
        AGE,
        column("Selector", f"{_SPEC}.selector", wide=True),
    ),
    row=row,
    selectable={
        "spec.clusterIP": lambda service: str(part(service, "spec").get("clusterIP") or ""),
        "spec.type": lambda service: str(part(service, "spec").get("type") or ""),
    },
    extra={"unsupported_field": "field label not supported: {field}"},
)
