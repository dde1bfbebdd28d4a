"""Validation of Services (``ValidateService`` and ``ValidateServiceUpdate``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    cidr_errors,
    ip_texts,
    label,
    non_special_ip_errors,
    not_supported_in_order,
    one_of,
    parse_ip,
    port_number,
    port_number_or_name,
    qualified_name,
    subdomain,
    texts_as_errors,
)
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.metadata import label_errors
from minikube_py.machinery.kinds.core.service_strategy import (
    HEADLESS,
    externally_accessible,
    needs_health_check,
)
from minikube_py.machinery.objects import Object

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_MAX_AFFINITY_SECONDS = 86400
_LOAD_BALANCER_ONLY = "may only be used when `type` is 'LoadBalancer'"
_EXTERNAL_NAME = "may not be set for ExternalName services"
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"


def validate(service: Object) -> Errors:
    """``ValidateService``."""
    spec = service.get("spec") or {}
    kind, ports = spec.get("type") or "", spec.get("ports") or ()
    headless = _headless(spec)
    errors: Errors = []
    annotations = (service.get("metadata") or {}).get("annotations") or {}
    if annotations.get(_HINTS) != annotations.get(_MODE) and _HINTS in annotations and _MODE in annotations:
        text = f"must match annotations[{_HINTS}] when both are specified"
        errors.append(invalid_value(f"metadata.annotations[{_MODE}]", annotations[_MODE], text))
    if not ports and not headless and kind != "ExternalName":
        errors.append(required("spec.ports"))
    errors += _type_specific_errors(kind, spec, headless)
    names: set[str] = set()
    for index, port in enumerate(ports):
        errors += _port_errors(f"spec.ports[{index}]", port, len(ports) > 1, names)
    errors += label_errors("spec.selector", spec.get("selector"))
    errors += _affinity_errors(spec)
    errors += cluster_ip_errors(spec)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        field = f"spec.externalIPs[{index}]"
        wrong = texts_as_errors(field, address, ip_texts(address))
        errors += wrong or non_special_ip_errors(field, address)
    errors += one_of("spec.type", kind, _TYPES) if kind else [required("spec.type")]
    errors += _port_conflict_errors(kind, ports)
    errors += _load_balancer_errors(service, spec)
    errors += _external_policy_errors(spec)
    return errors + _internal_policy_errors(spec)


def _type_specific_errors(kind: str, spec: Mapping[str, Any], headless: bool) -> Errors:
    errors: Errors = []
    if kind in ("LoadBalancer", "NodePort") and headless:
        text = f"may not be set to 'None' for {kind} services"
        errors.append(invalid_value("spec.clusterIPs[0]", HEADLESS, text))
    if kind == "ExternalName":
        for field in ("clusterIPs", "ipFamilies"):
            if spec.get(field):
                errors.append(forbidden_field(f"spec.{field}", _EXTERNAL_NAME))
        if spec.get("ipFamilyPolicy") is not None:
            errors.append(forbidden_field("spec.ipFamilyPolicy", _EXTERNAL_NAME))
        target = (spec.get("externalName") or "").removesuffix(".")
        errors += subdomain("spec.externalName", target) if target else [required("spec.externalName")]
    return errors


def _port_errors(path: str, port: Mapping[str, Any], name_required: bool, names: set[str]) -> Errors:
    name = port.get("name") or ""
    errors: Errors = []
    if name_required and not name:
        errors.append(required(f"{path}.name"))
    elif name:
        errors += label(f"{path}.name", name)
        if name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
    errors += port_number(f"{path}.port", port.get("port") or 0)
    protocol = port.get("protocol") or ""
    if protocol:
        errors += one_of(f"{path}.protocol", protocol, ("SCTP", "TCP", "UDP"))
    else:
        errors.append(required(f"{path}.protocol"))
    errors += port_number_or_name(f"{path}.targetPort", port.get("targetPort"))
    if port.get("appProtocol") is not None:
        errors += qualified_name(f"{path}.appProtocol", port["appProtocol"])
    return errors


def _affinity_errors(spec: Mapping[str, Any]) -> Errors:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    if not affinity:
        return [required("spec.sessionAffinity")]
    errors = one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    field = "spec.sessionAffinityConfig"
    if affinity == "None" and config is not None:
        errors.append(forbidden_field(field, "must not be set when session affinity is None"))
    if affinity == "ClientIP":
        errors += _client_affinity_errors(field, config)
    return errors


def _client_affinity_errors(path: str, config: Mapping[str, Any] | None) -> Errors:
    text = "when session affinity type is ClientIP"
    if config is None:
        return [required(path, text)]
    client = config.get("clientIP")
    if client is None:
        return [required(f"{path}.clientIP", text)]
    seconds = client.get("timeoutSeconds")
    if seconds is None:
        return [required(f"{path}.clientIP.timeoutSeconds", text)]
    if 0 < seconds <= _MAX_AFFINITY_SECONDS:
        return []
    text = f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}"
    return [invalid_value(f"{path}.clientIP.timeoutSeconds", seconds, text)]


def cluster_ip_errors(spec: Mapping[str, Any]) -> Errors:
    """``ValidateServiceClusterIPsRelatedFields``."""
    if spec.get("type") == "ExternalName":
        return []
    ip, ips = spec.get("clusterIP") or "", list(spec.get("clusterIPs") or ())
    families: Sequence[str] = spec.get("ipFamilies") or ()
    errors: Errors = []
    if not ip and ips:
        errors.append(invalid_value("spec.clusterIPs", ips, "must be empty when `clusterIP` is not specified"))
    if ip and not ips:
        errors.append(required("spec.clusterIPs"))
    if ip and ips and ips[0] != ip:
        errors.append(invalid_value("spec.clusterIPs", ips, "first value must match `clusterIP`"))
    bad_families, bad_addresses = _family_errors(families), _address_errors(ips)
    errors += bad_families
    if spec.get("ipFamilyPolicy") is not None:
        errors += one_of("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], _FAMILY_POLICIES)
    errors += bad_addresses
    if len(ips) > 2:
        errors.append(invalid_value("spec.clusterIPs", ips, "may only hold up to 2 values"))
    if bad_addresses:
        return errors
    return errors + _family_match_errors(ips, families)


def _family_errors(families: Sequence[str]) -> Errors:
    errors: Errors = []
    for index, family in enumerate(families):
        field = f"spec.ipFamilies[{index}]"
        errors += one_of(field, family, ("IPv4", "IPv6"))
        if family in families[:index]:
            errors.append(duplicate(field, family))
    return errors


def _address_errors(ips: Sequence[str]) -> Errors:
    errors: Errors = []
    for index, ip in enumerate(ips):
        if index == 0 and ip == HEADLESS:
            if len(ips) > 1:
                text = "'None' must be the first and only value"
                errors.append(invalid_value("spec.clusterIPs", list(ips), text))
            continue
        errors += texts_as_errors(f"spec.clusterIPs[{index}]", ip, ip_texts(ip))
    return errors


def _family_match_errors(ips: Sequence[str], families: Sequence[str]) -> Errors:
    if list(ips) == [HEADLESS]:
        return []
    versions = [address.version for ip in ips if (address := parse_ip(ip)) is not None]
    errors: Errors = []
    if len(ips) > 1 and sorted(versions) != [4, 6]:
        text = "may specify no more than one IP for each IP family"
        errors.append(invalid_value("spec.clusterIPs", list(ips), text))
    for index, (version, family) in enumerate(zip(versions, families, strict=False)):
        if family in ("IPv4", "IPv6") and family != f"IPv{version}":
            text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            errors.append(invalid_value(f"spec.clusterIPs[{index}]", ips[index], text))
    return errors


def _port_conflict_errors(kind: str, ports: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                text = "may not be used when `type` is 'ClusterIP'"
                errors.append(forbidden_field(f"spec.ports[{index}].nodePort", text))
    taken: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        if port.get("nodePort"):
            key = (port.get("protocol"), port["nodePort"])
            if key in taken:
                errors.append(duplicate(f"spec.ports[{index}].nodePort", port["nodePort"]))
            taken.add(key)
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            bare = {"protocol": port.get("protocol"), "port": port.get("port")}
            errors.append(duplicate(f"spec.ports[{index}]", go_object("ServicePort", bare)))
        seen.add(key)
    return errors


def _load_balancer_errors(service: Object, spec: Mapping[str, Any]) -> Errors:
    balanced = spec.get("type") == "LoadBalancer"
    annotations = (service.get("metadata") or {}).get("annotations") or {}
    errors: Errors = []
    ranges: Sequence[str] = spec.get("loadBalancerSourceRanges") or ()
    annotated = annotations.get(_RANGES_ANNOTATION)
    if ranges:
        field = "spec.LoadBalancerSourceRanges"
        errors += [] if balanced else [forbidden_field(field, _LOAD_BALANCER_ONLY)]
        for index, value in enumerate(ranges):
            errors += cidr_errors(f"{field}[{index}]", value.strip())
    elif annotated is not None:
        field = f"metadata.annotations[{_RANGES_ANNOTATION}]"
        errors += [] if balanced else [forbidden_field(field, _LOAD_BALANCER_ONLY)]
        for value in annotated.strip().split(",") if annotated.strip() else ():
            errors += cidr_errors(field, value.strip())
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balanced:
        errors.append(forbidden_field("spec.allocateLoadBalancerNodePorts", _LOAD_BALANCER_ONLY))
    if balanced and spec.get("allocateLoadBalancerNodePorts") is None:
        errors.append(required("allocateLoadBalancerNodePorts"))
    return errors + _class_errors(spec)


def _class_errors(spec: Mapping[str, Any]) -> Errors:
    """``validateLoadBalancerClassField``, which an update runs twice."""
    name = spec.get("loadBalancerClass")
    if name is None:
        return []
    if spec.get("type") != "LoadBalancer":
        return [forbidden_field("spec.loadBalancerClass", _LOAD_BALANCER_ONLY)]
    return qualified_name("spec.loadBalancerClass", name)


def _external_policy_errors(spec: Mapping[str, Any]) -> Errors:
    policy, field = spec.get("externalTrafficPolicy") or "", "spec.externalTrafficPolicy"
    errors: Errors = []
    if not externally_accessible(spec):
        if policy:
            text = "may only be set for externally-accessible services"
            errors.append(invalid_value(field, policy, text))
    elif not policy:
        errors.append(required(field))
    else:
        errors += one_of(field, policy, ("Cluster", "Local"))
    port = spec.get("healthCheckNodePort") or 0
    if needs_health_check(spec):
        errors += port_number("spec.healthCheckNodePort", port) if port else [required("spec.healthCheckNodePort")]
    elif port:
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(invalid_value("spec.healthCheckNodePort", port, text))
    return errors


def _internal_policy_errors(spec: Mapping[str, Any]) -> Errors:
    policy, field = spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy"
    errors: Errors = []
    if policy is None:
        if spec.get("type") in ("NodePort", "LoadBalancer", "ClusterIP"):
            errors.append(required(field))
    else:
        errors += one_of(field, policy, ("Cluster", "Local"))
    distribution = spec.get("trafficDistribution")
    known = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if distribution is not None and distribution not in known:
        errors.append(not_supported_in_order("spec.trafficDistribution", distribution, known))
    return errors


def validate_update(service: Object, old: Object) -> Errors:
    """``ValidateServiceUpdate``: the first address and family stay, unless ExternalName is involved."""
    spec, before = service.get("spec") or {}, old.get("spec") or {}
    errors: Errors = []
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        headless, was_headless = _headless(spec), _headless(before)
        if not (headless and was_headless):
            errors += _change_errors(spec, before, "clusterIPs", "clusterIP", "clusterIP")
        if not headless and not was_headless:
            errors += _change_errors(spec, before, "ipFamilies", "ipFamily", "ipFamily")
    balanced = before.get("type") == "LoadBalancer" == spec.get("type")
    name = spec.get("loadBalancerClass")
    if balanced and name != before.get("loadBalancerClass"):
        errors.append(invalid_value("spec.loadBalancerClass", name, "may not change once set"))
    errors += _class_errors(spec)
    ports = [found.get("healthCheckNodePort") or 0 for found in (spec, before) if needs_health_check(found)]
    if len(ports) == 2 and ports[0] != ports[1]:
        errors.append(forbidden_field("spec.healthCheckNodePort", "field is immutable"))
    return errors + validate(service)


def _headless(spec: Mapping[str, Any]) -> bool:
    return list(spec.get("clusterIPs") or ()) == [HEADLESS]


def _change_errors(spec: Mapping[str, Any], before: Mapping[str, Any], field: str, first: str, second: str) -> Errors:
    """``validateUpgradeDowngradeClusterIPs`` and ``...IPFamilies``: only the second value may come and go."""
    now, was = list(spec.get(field) or ()), list(before.get(field) or ())
    path, changed = f"spec.{field}", "may not change once set"
    errors: Errors = []
    if len(now) == len(was):
        for index, (one, other) in enumerate(zip(now, was, strict=True)):
            if one != other:
                where = index if field == "clusterIPs" else 0
                errors.append(invalid_value(f"{path}[{where}]", now, changed))
        return errors
    if len(was) > len(now) and not spec.get("clusterIPs"):
        errors.append(invalid_value(f"{path}[0]", now or None, f"primary {first} can not be unset"))
    if was and now and now[0] != was[0]:
        errors.append(invalid_value(f"{path}[0]", list(spec.get("clusterIPs") or ()) or None, changed))
    if len(was) > len(now) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        text = f"must be set to 'SingleStack' when releasing the secondary {second}"
        errors.append(invalid_value("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text))
    return errors


def validate_status(service: Object, old: Object) -> Errors:
    """``ValidateLoadBalancerStatus``."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    spec, field = service.get("spec") or {}, "status.loadBalancer.ingress"
    if spec.get("type") != "LoadBalancer" and ingress:
        return [forbidden_field(field, "may only be used when `spec.type` is 'LoadBalancer'")]
    errors: Errors = []
    for index, entry in enumerate(ingress):
        errors += _ingress_errors(f"{field}[{index}]", entry)
    return errors


def _ingress_errors(path: str, entry: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    ip, mode, host = entry.get("ip") or "", entry.get("ipMode"), entry.get("hostname") or ""
    if ip:
        errors += texts_as_errors(f"{path}.ip", ip, ip_texts(ip))
    if ip and mode is None:
        errors.append(required(f"{path}.ipMode", "must be specified when `ip` is set"))
    elif not ip and mode is not None:
        errors.append(forbidden_field(f"{path}.ipMode", "may not be specified when `ip` is not set"))
    elif mode is not None:
        errors += one_of(f"{path}.ipMode", mode, ("Proxy", "VIP"))
    if host:
        errors += subdomain(f"{path}.hostname", host)
        if parse_ip(host) is not None:
            errors.append(invalid_value(f"{path}.hostname", host, "must be a DNS name, not an IP address"))
    return errors
