"""The whole pod spec, part by part in the order in which Kubernetes reports (``ValidatePodSpec``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, forbidden_field, invalid_value, required, too_long
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    ip_texts,
    label,
    named,
    one_of_in_order,
    preemption_errors,
    qualified_name,
    subdomain,
    texts_as_errors,
)
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.metadata import label_errors
from minikube_py.machinery.kinds.common.podspec.containers import (
    Surroundings,
    container_list_errors,
    ephemeral_container_errors,
    init_container_errors,
)
from minikube_py.machinery.kinds.common.podspec.environment import file_key_volume_errors
from minikube_py.machinery.kinds.common.podspec.pod_resources import pod_resource_errors
from minikube_py.machinery.kinds.common.podspec.scheduling import (
    affinity_errors,
    spread_errors,
    toleration_errors,
)
from minikube_py.machinery.kinds.common.podspec.security import (
    host_users_errors,
    operating_system_errors,
    pod_security_errors,
)
from minikube_py.machinery.kinds.common.podspec.volumes import volume_errors
from minikube_py.machinery.kinds.common.podspec.windows import host_process_errors
from minikube_py.machinery.kinds.common.resource_names import requirements_errors
from minikube_py.machinery.names import underscore_subdomain_errors

MAX_DEADLINE_SECONDS = 2**31 - 1
WHOLE_OBJECT = "[]"
"""The field of an error that concerns no field: Kubernetes prints an empty path so."""
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")


def pod_spec_errors(
    path: str, spec: Mapping[str, Any], pod_name: str = "", *, is_pod: bool = False, mirrored: bool = False
) -> Errors:
    """All errors of a pod spec: of a template, or of a pod with its name, which may mirror a static one."""
    volumes, errors = volume_errors(f"{path}.volumes", spec.get("volumes") or (), pod_name)
    claims = spec.get("resourceClaims") or ()
    if mirrored:
        errors += [forbidden_field(WHOLE_OBJECT, "static pods do not support resource claims") for _ in claims]
    else:
        errors += _claim_list_errors(f"{path}.resourceClaims", claims)
    around = Surroundings(
        volumes,
        tuple(sorted({claim["name"] for claim in claims if claim.get("name")})),
        spec.get("terminationGracePeriodSeconds"),
        spec.get("hostUsers") is not False,
        spec.get("restartPolicy") or "",
    )
    regular, initial = spec.get("containers") or (), spec.get("initContainers") or ()
    errors += container_list_errors(f"{path}.containers", regular, around)
    errors += init_container_errors(f"{path}.initContainers", initial, regular, around)
    passing = spec.get("ephemeralContainers") or ()
    errors += ephemeral_container_errors(f"{path}.ephemeralContainers", passing, (*regular, *initial), around)
    if spec.get("resources") is not None:
        errors += pod_resource_errors(f"{path}.resources", spec)
    errors += _host_network_errors(path, spec, is_pod=is_pod)
    errors += _policy_errors(path, spec)
    errors += label_errors(f"{path}.nodeSelector", spec.get("nodeSelector"))
    errors += pod_security_errors(path, spec)
    errors += affinity_errors(f"{path}.affinity", spec.get("affinity"))
    errors += _dns_config_errors(f"{path}.dnsConfig", spec)
    errors += _gate_errors(path, spec)
    errors += spread_errors(f"{path}.topologySpreadConstraints", spec.get("topologySpreadConstraints") or ())
    errors += host_process_errors(path, spec) + host_users_errors(path, spec)
    if spec.get("hostnameOverride") is not None:
        errors += _hostname_override_errors(path, spec)
    return errors + _name_errors(path, spec) + _rest_errors(path, spec) + file_key_volume_errors(path, spec)


def _policy_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    restart, dns = spec.get("restartPolicy") or "", spec.get("dnsPolicy") or ""
    if not restart:
        errors.append(required(f"{path}.restartPolicy"))
    else:
        errors += one_of_in_order(f"{path}.restartPolicy", restart, ("Always", "OnFailure", "Never"))
    if not dns:
        errors.append(required(f"{path}.dnsPolicy"))
    else:
        errors += one_of_in_order(f"{path}.dnsPolicy", dns, _DNS_POLICIES)
    return errors


def _claim_list_errors(path: str, claims: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        field, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            errors.append(required(f"{field}.name"))
        elif name in seen:
            errors.append(duplicate(f"{field}.name", name))
        else:
            errors += label(f"{field}.name", name)
            seen.add(name)
        direct, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        shown = go_object("PodResourceClaim", claim)
        if direct is not None and template is not None:
            text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(invalid_value(field, shown, text))
        if direct is None and template is None:
            text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(invalid_value(field, shown, text))
        if direct is not None:
            errors += subdomain(f"{field}.resourceClaimName", direct)
        if template is not None:
            errors += subdomain(f"{field}.resourceClaimTemplateName", template)
    return errors


def _host_network_errors(path: str, spec: Mapping[str, Any], *, is_pod: bool) -> Errors:
    """``validatePodHostNetworkDeps``: in the host's network a container port is the host port."""
    errors: Errors = []
    if not spec.get("hostNetwork"):
        return errors
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            host, inside = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (is_pod or host) and host != inside:
                field = f"{path}.containers[{index}].ports[{number}].hostPort"
                errors.append(invalid_value(field, host, "must match `containerPort` when `hostNetwork` is true"))
    return errors


def _gate_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        errors += qualified_name(f"{path}.readinessGates[{index}].conditionType", gate.get("conditionType") or "")
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        field, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        errors += qualified_name(field, name)
        if name in seen:
            errors.append(duplicate(field, name))
        seen.add(name)
    return errors


def _name_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for name in ("serviceAccountName", "nodeName"):
        if spec.get(name):
            errors += subdomain(f"{path}.{name}", spec[name])
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_DEADLINE_SECONDS:
        text = f"must be between 1 and {MAX_DEADLINE_SECONDS}, inclusive"
        errors.append(invalid_value(f"{path}.activeDeadlineSeconds", deadline, text))
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            errors += label(f"{path}.{name}", spec[name])
    return errors


def _rest_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    errors = toleration_errors(f"{path}.tolerations", spec.get("tolerations") or ())
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        field, address = f"{path}.hostAliases[{index}]", alias.get("ip") or ""
        errors += texts_as_errors(f"{field}.ip", address, ip_texts(address))
        for number, name in enumerate(alias.get("hostnames") or ()):
            errors += subdomain(f"{field}.hostnames[{number}]", name)
    if spec.get("priorityClassName"):
        errors += subdomain(f"{path}.priorityClassName", spec["priorityClassName"])
    if spec.get("runtimeClassName") is not None:
        errors += subdomain(f"{path}.runtimeClassName", spec["runtimeClassName"])
    errors += preemption_errors(f"{path}.preemptionPolicy", spec.get("preemptionPolicy"))
    if spec.get("overhead"):
        errors += requirements_errors(f"{path}.overhead", {"limits": spec["overhead"]})
    return errors + operating_system_errors(path, spec)


_LONGEST_HOSTNAME = 64


def _hostname_override_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validatePodHostName``."""
    field, name = f"{path}.hostnameOverride", spec["hostnameOverride"]
    errors: Errors = []
    for other in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(other):
            errors.append(forbidden_field(field, f"may not be specified when {other} is true"))
    if len(name.encode()) > _LONGEST_HOSTNAME:
        errors.append(too_long(field, _LONGEST_HOSTNAME))
    return errors + subdomain(field, name)


def _dns_config_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validatePodDNSConfig``."""
    config = spec.get("dnsConfig")
    servers: Sequence[str] = (config or {}).get("nameservers") or ()
    errors: list[FieldError] = []
    if config is None:
        if spec.get("dnsPolicy") == "None":
            errors.append(required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
        return errors
    if spec.get("dnsPolicy") == "None" and not servers:
        text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [required(f"{path}.nameservers", text)]
    if len(servers) > 3:
        text = "must not have more than 3 nameservers"
        errors.append(invalid_value(f"{path}.nameservers", list(servers), text))
    for index, server in enumerate(servers):
        errors += texts_as_errors(f"{path}.nameservers[{index}]", server, ip_texts(server))
    searches: Sequence[str] = config.get("searches") or ()
    if len(searches) > 32:
        text = "must not have more than 32 search paths"
        errors.append(invalid_value(f"{path}.searches", list(searches), text))
    if len(" ".join(searches)) > 2048:
        text = "must not have more than 2048 characters (including spaces) in the search list"
        errors.append(invalid_value(f"{path}.searches", list(searches), text))
    for index, search in enumerate(searches):
        if search != ".":
            errors += named(f"{path}.searches[{index}]", search.removesuffix("."), underscore_subdomain_errors)
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{index}]", "must not be empty"))
    return errors
