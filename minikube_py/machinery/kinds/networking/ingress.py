"""Ingress: HTTP routing to Services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, not_supported, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    ip_texts,
    named,
    parse_ip,
    port_number,
    subdomain,
    texts_as_errors,
)
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.strategy import fresh_status, wire_form
from minikube_py.machinery.names import (
    dns1123_label_errors,
    path_segment_errors,
    port_name_errors,
    wildcard_subdomain_errors,
)
from minikube_py.machinery.objects import Object, annotations_of
from minikube_py.machinery.resources import INGRESSES

DEFINITION = "io.k8s.api.networking.v1.Ingress"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_SUFFIXES = ("/..", "/.")


def validate(ingress: Object) -> Errors:
    """``ValidateIngressCreate``."""
    spec = ingress.get("spec") or {}
    errors: Errors = []
    old_class, new_class = annotations_of(ingress).get(CLASS_ANNOTATION), spec.get("ingressClassName")
    if old_class is not None and new_class is not None and old_class != new_class:
        text = "must match `ingressClassName` when both are specified"
        errors.append(invalid_value(f"annotations.{CLASS_ANNOTATION}", old_class, text))
    return _spec_errors(spec) + errors


def _spec_errors(spec: Mapping[str, Any]) -> Errors:
    backend, rules = spec.get("defaultBackend"), spec.get("rules") or ()
    errors: Errors = []
    if not rules and backend is None:
        text = "either `defaultBackend` or `rules` must be specified"
        errors.append(invalid_value("spec", None, text))
    if backend is not None:
        errors += _backend_errors("spec.defaultBackend", backend)
    for index, rule in enumerate(rules):
        errors += _rule_errors(f"spec.rules[{index}]", rule)
    for index, entry in enumerate(spec.get("tls") or ()):
        errors += _tls_errors(f"spec.tls[{index}]", entry)
    if spec.get("ingressClassName") is not None:
        errors += subdomain("spec.ingressClassName", spec["ingressClassName"])
    return errors


def _rule_errors(path: str, rule: Mapping[str, Any]) -> Errors:
    host = rule.get("host") or ""
    errors: Errors = []
    if host:
        if parse_ip(host) is not None:
            errors.append(invalid_value(f"{path}.host", host, "must be a DNS name, not an IP address"))
        errors += _host_errors(f"{path}.host", host)
    http = rule.get("http")
    if http is None:
        return errors
    paths = http.get("paths") or ()
    if not paths:
        errors.append(required(f"{path}.http.paths"))
    for index, entry in enumerate(paths):
        errors += _path_errors(f"{path}.http.paths[{index}]", entry)
    return errors


def _host_errors(path: str, host: str) -> Errors:
    return named(path, host, wildcard_subdomain_errors) if "*" in host else subdomain(path, host)


def _path_errors(path: str, entry: Mapping[str, Any]) -> Errors:
    target, kind = entry.get("path") or "", entry.get("pathType")
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    errors: Errors = []
    if kind in ("Exact", "Prefix"):
        if not target.startswith("/"):
            errors.append(invalid_value(f"{path}.path", target, "must be an absolute path"))
        if target:
            errors += [invalid_value(f"{path}.path", target, f"must not contain '{found}'") for found in _SEQUENCES
                       if found in target]  # fmt: skip
            errors += [invalid_value(f"{path}.path", target, f"cannot end with '{found}'") for found in _SUFFIXES
                       if target.endswith(found)]  # fmt: skip
    elif kind == "ImplementationSpecific":
        if target and not target.startswith("/"):
            errors.append(invalid_value(f"{path}.path", target, "must be an absolute path"))
    else:
        errors.append(not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    return errors + _backend_errors(f"{path}.backend", entry.get("backend") or {})


def _backend_errors(path: str, backend: Mapping[str, Any]) -> Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [invalid_value(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _resource_errors(f"{path}.resource", resource)
    if service is None:
        return [invalid_value(path, "", "resource or service backend is required")]
    called, port = service.get("name") or "", service.get("port") or {}
    errors = (
        named(f"{path}.service.name", called, dns1123_label_errors) if called else [required(f"{path}.service.name")]
    )
    number, port_name = port.get("number") or 0, port.get("name") or ""
    if number and port_name:
        errors.append(invalid_value(path, "", "cannot set both port name & port number"))
    elif port_name:
        errors += named(f"{path}.service.port.name", port_name, port_name_errors)
    elif number:
        errors += port_number(f"{path}.service.port.number", number)
    else:
        errors.append(required(path, "port name or number is required"))
    return errors


def _resource_errors(path: str, resource: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    if resource.get("apiGroup") is not None:
        errors += subdomain(f"{path}.apiGroup", resource["apiGroup"])
    for field in ("kind", "name"):
        value = resource.get(field) or ""
        errors += named(f"{path}.{field}", value, path_segment_errors) if value else [required(f"{path}.{field}")]
    return errors


def _tls_errors(path: str, entry: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for index, host in enumerate(entry.get("hosts") or ()):
        errors += _host_errors(f"{path}.hosts[{index}]", host)
    if entry.get("secretName"):
        errors += subdomain(f"{path}.secretName", entry["secretName"])
    return errors


def validate_update(ingress: Object, old: Object) -> Errors:
    return _spec_errors(ingress.get("spec") or {})


def validate_status(ingress: Object, old: Object) -> list[FieldError]:
    """``ValidateIngressLoadBalancerStatus``."""
    errors: Errors = []
    entries, before = (part(obj, "status", "loadBalancer").get("ingress") or () for obj in (ingress, old))
    stored = {entry.get("ip") for entry in before}
    for index, entry in enumerate(entries):
        path, ip, host = f"status.loadBalancer.ingress[{index}]", entry.get("ip") or "", entry.get("hostname") or ""
        if ip:
            errors += texts_as_errors(f"{path}.ip", ip, ip_texts(ip, stored))
        if host:
            errors += subdomain(f"{path}.hostname", host)
            if parse_ip(host) is not None:
                errors.append(invalid_value(f"{path}.hostname", host, "must be a DNS name, not an IP address"))
    return errors


def warnings(ingress: Object, old: Object | None) -> list[str]:
    """The annotation that names the class is deprecated; warned of on creation, where nothing else names it."""
    unnamed = part(ingress, "spec").get("ingressClassName") is None
    if old is None and unnamed and CLASS_ANNOTATION in annotations_of(ingress):
        return [f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"]
    return []


def row(ingress: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(ingress, "spec")
    balanced = part(ingress, "status", "loadBalancer").get("ingress") or ()
    addresses = {entry.get("ip") or entry.get("hostname") for entry in balanced}
    called = spec.get("ingressClassName")
    return (
        name(ingress),
        "<none>" if called is None else called,
        _hosts_text(spec.get("rules") or ()),
        ",".join(sorted(address for address in addresses if address)),
        "80, 443" if spec.get("tls") else "80",
        age(ingress, now),
    )


_SHOWN_HOSTS = 3


def _hosts_text(rules: Sequence[Mapping[str, Any]]) -> str:
    """``formatHosts``: the first hosts, and how many rules there are beyond their number."""
    listed: list[str] = []
    for rule in rules:
        if len(listed) == _SHOWN_HOSTS:
            return f"{','.join(listed)} + {len(rules) - _SHOWN_HOSTS} more..."
        if rule.get("host"):
            listed.append(rule["host"])
    return ",".join(listed) or "*"


KIND = Kind(
    resource=INGRESSES,
    singular="ingress",
    definition=DEFINITION,
    short_names=("ing",),
    subresources=(Subresource("status"),),
    default=wire_form(DEFINITION),
    prepare_create=fresh_status(DEFINITION),
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    columns=(
        NAME,
        column("Class", text="The name of the IngressClass resource that should be used for additional configuration"),
        column("Hosts", text="Hosts that incoming requests are matched against before the ingress rule"),
        column("Address", text="Address is a list containing ingress points for the load-balancer"),
        column("Ports", text="Ports of TLS configurations that open"),
        AGE,
    ),
    row=row,
)
