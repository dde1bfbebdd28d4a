"""Service: a stable address for a set of pods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import cidr_warnings, ip_warnings
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, label_text, name, part
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.kinds.core import service_strategy, service_validation
from minikube_py.machinery.kinds.core.service_strategy import DEFINITION
from minikube_py.machinery.names import name_is_dns_label
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import SERVICES

_SPEC = f"{DEFINITION}Spec"


def warnings(service: Object, old: Object | None) -> list[str]:
    """``GetWarningsForService``."""
    spec, meta = part(service, "spec"), part(service, "metadata")
    external = spec.get("externalIPs") or ()
    kind, addresses = spec.get("type"), spec.get("clusterIPs") or ()
    headless = kind == "ClusterIP" and spec.get("clusterIP") == service_strategy.HEADLESS
    found = []
    if _HINTS in (meta.get("annotations") or {}):
        found.append(f"annotation {_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead")
    if not headless:
        found += _listed_warnings("spec.clusterIPs", addresses, ip_warnings)
    else:
        if spec.get("loadBalancerIP"):
            found.append("spec.loadBalancerIP is ignored for headless services")
        if external:
            found.append("spec.externalIPs is ignored for headless services")
        if spec.get("sessionAffinity") != "None":
            found.append("spec.SessionAffinity is ignored for headless services")
    found += _listed_warnings("spec.externalIPs", external, ip_warnings)
    if external and not headless and kind != "ExternalName":
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.get("loadBalancerIP"):
        found += ip_warnings("spec.loadBalancerIP", spec["loadBalancerIP"])
    found += _listed_warnings("spec.loadBalancerSourceRanges", spec.get("loadBalancerSourceRanges") or (),
                              cidr_warnings)  # fmt: skip
    if kind == "ExternalName" and external:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


_HINTS = "service.kubernetes.io/topology-aware-hints"


def _listed_warnings(path: str, values: Sequence[str], check: Callable[[str, str], list[str]]) -> list[str]:
    return [text for index, value in enumerate(values) for text in check(f"{path}[{index}]", value)]


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
        balanced = {entry.get("ip") or entry.get("hostname") or "" for entry in ingress}
        return ",".join(sorted(filter(None, balanced)) + addresses) or "<pending>"
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
