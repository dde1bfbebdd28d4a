"""Containers of all three sorts: regular, init, ephemeral."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minikube_py.machinery.errors import (
    FieldError,
    duplicate,
    field_not_found,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label,
    not_supported_in_order,
    one_of,
    port_number,
)
from minikube_py.machinery.kinds.common.podspec.environment import environment_errors, environment_source_errors
from minikube_py.machinery.kinds.common.podspec.mounts import Volumes, device_errors, mount_errors
from minikube_py.machinery.kinds.common.podspec.probes import container_probe_errors
from minikube_py.machinery.kinds.common.podspec.security import container_security_errors
from minikube_py.machinery.kinds.common.resource_names import requirements_errors
from minikube_py.machinery.names import (
    port_name_errors,
)

_PROBES = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_NEVER_EPHEMERAL = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", *_PROBES[1:], "lifecycle",
)  # fmt: skip
_PROTOCOLS = ("SCTP", "TCP", "UDP")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container's validity depends on outside itself."""

    volumes: Volumes
    claims: tuple[str, ...]
    grace_seconds: int | None
    host_users: bool
    restart_policy: str


def container_list_errors(path: str, containers: Sequence[Mapping[str, Any]], around: Surroundings) -> Errors:
    """``validateContainers``."""
    if not containers:
        return [required(path)]
    errors: Errors = []
    names: set[str] = set()
    for index, container in enumerate(containers):
        field, name = f"{path}[{index}]", container.get("name") or ""
        errors += common_errors(field, container, around)
        if name in names:
            errors.append(duplicate(f"{field}.name", name))
        names.add(name)
        errors += container_probe_errors(field, container, around.grace_seconds)
        errors += _restart_errors(field, container)
    return errors + _host_port_errors(path, containers)


_MOST_RULES = 20
_MOST_EXIT_CODES = 255


def _restart_errors(path: str, container: Mapping[str, Any], *, initial: bool = False) -> Errors:
    """``validateContainerRestartPolicy``; rules of an init container without a policy are not looked at."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    errors: Errors = []
    if policy is not None:
        errors += one_of(f"{path}.restartPolicy", policy, ("Always", "Never", "OnFailure"))
    elif rules:
        errors.append(required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"))
        if initial:
            return errors
    if len(rules) > _MOST_RULES:
        errors.append(too_many(f"{path}.restartPolicyRules", len(rules), _MOST_RULES))
    for index, rule in enumerate(rules):
        errors += _restart_rule_errors(f"{path}.restartPolicyRules[{index}]", rule)
    return errors


def _restart_rule_errors(path: str, rule: Mapping[str, Any]) -> Errors:
    errors = one_of(f"{path}.action", rule.get("action") or "", ("Restart", "RestartAllContainers"))
    codes = rule.get("exitCodes")
    if codes is None:
        return [*errors, required(f"{path}.exitCodes", "must be specified")]
    errors += one_of(f"{path}.exitCodes.operator", codes.get("operator") or "", ("In", "NotIn"))
    given = len(codes.get("values") or ())
    if given > _MOST_EXIT_CODES:
        errors.append(too_many(f"{path}.exitCodes.values", given, _MOST_EXIT_CODES))
    return errors


def init_container_errors(
    path: str, containers: Sequence[Mapping[str, Any]], regular: Sequence[Mapping[str, Any]], around: Surroundings
) -> Errors:
    """``validateInitContainers``: names differ from regular ones too; only sidecars have probes."""
    errors: Errors = []
    names = {container.get("name") or "" for container in regular}
    for index, container in enumerate(containers):
        field, name = f"{path}[{index}]", container.get("name") or ""
        errors += common_errors(field, container, around)
        errors += _restart_errors(field, container, initial=True)
        if name in names:
            errors.append(duplicate(f"{field}.name", name))
        elif name:
            names.add(name)
        errors += _host_port_errors(path, [container])
        if container.get("restartPolicy") == "Always":
            errors += container_probe_errors(field, container, around.grace_seconds)
        else:
            text = "may not be set for init containers without restartPolicy=Always"
            errors += [forbidden_field(f"{field}.{part}", text) for part in _PROBES if container.get(part) is not None]
            errors += _one_time_resize_errors(f"{field}.resizePolicy", container.get("resizePolicy") or ())
    return errors


def _one_time_resize_errors(path: str, policies: Sequence[Mapping[str, Any]]) -> Errors:
    text = "must not be set to 'RestartContainer' for non-sidecar initContainers"
    return [
        invalid_value(f"{path}[{index}].restartPolicy", "RestartContainer", text)
        for index, policy in enumerate(policies)
        if policy.get("restartPolicy") == "RestartContainer"
    ]


def ephemeral_container_errors(
    path: str,
    containers: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    around: Surroundings,
) -> Errors:
    """``validateEphemeralContainers``: names unique in the pod, targets exist, nothing that needs a restart."""
    errors: Errors = []
    targets = {container.get("name") or "" for container in others}
    names = set(targets)
    for index, container in enumerate(containers):
        field, name = f"{path}[{index}]", container.get("name") or ""
        errors += common_errors(field, container, around)
        errors += [replace(error, field=f"{field}.image") for error in image_space_errors("", [container])]
        if name in names:
            errors.append(duplicate(f"{field}.name", name))
        elif name:
            names.add(name)
        target = container.get("targetContainerName")
        if target and target not in targets:
            errors.append(field_not_found(f"{field}.targetContainerName", target))
        errors += [
            forbidden_field(f"{field}.{part}", _NOT_EPHEMERAL) for part in _NEVER_EPHEMERAL if container.get(part)
        ]
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            errors += [
                forbidden_field(f"{field}.volumeMounts[{number}].{part}", _NOT_EPHEMERAL)
                for part in ("subPath", "subPathExpr")
                if mount.get(part)
            ]
    return errors


def image_space_errors(path: str, containers: Sequence[Mapping[str, Any]]) -> Errors:
    """``validateContainersOnlyForPod``: templates may have images padded with white space, pods not."""
    errors: Errors = []
    for index, container in enumerate(containers):
        image = container.get("image") or ""
        if image.strip() != image:
            text = "must not have leading or trailing whitespace"
            errors.append(invalid_value(f"{path}[{index}].image", image, text))
    return errors


def common_errors(path: str, container: Mapping[str, Any], around: Surroundings) -> Errors:
    """``validateContainerCommon``."""
    name, image = container.get("name") or "", container.get("image") or ""
    errors = label(f"{path}.name", name) if name else [required(f"{path}.name")]
    if not image:
        errors.append(required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy") or ""
    if not policy:
        errors.append(required(f"{path}.terminationMessagePolicy"))
    elif policy not in ("File", "FallbackToLogsOnError"):
        listed = ("File", "FallbackToLogsOnError")
        errors.append(not_supported_in_order(f"{path}.terminationMessagePolicy", policy, listed))
    errors += _port_errors(f"{path}.ports", container.get("ports") or ())
    errors += environment_errors(f"{path}.env", container.get("env") or ())
    errors += environment_source_errors(f"{path}.envFrom", container.get("envFrom") or ())
    errors += mount_errors(f"{path}.volumeMounts", container, around.volumes)
    errors += device_errors(f"{path}.volumeDevices", container, around.volumes)
    pull = container.get("imagePullPolicy") or ""
    if pull:
        errors += one_of(f"{path}.imagePullPolicy", pull, ("Always", "IfNotPresent", "Never"))
    else:
        errors.append(required(f"{path}.imagePullPolicy"))
    resources = container.get("resources") or {}
    errors += requirements_errors(f"{path}.resources", resources)
    errors += _claim_errors(f"{path}.resources.claims", resources.get("claims") or (), around.claims)
    errors += _resize_errors(f"{path}.resizePolicy", container.get("resizePolicy") or (), around.restart_policy)
    security = container.get("securityContext")
    return errors + container_security_errors(f"{path}.securityContext", security, host_users=around.host_users)


def _port_errors(path: str, ports: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        field, name = f"{path}[{index}]", port.get("name") or ""
        if name:
            wrong = port_name_errors(name)
            errors += [invalid_value(f"{field}.name", name, text) for text in wrong]
            if not wrong and name in names:
                errors.append(duplicate(f"{field}.name", name))
            elif not wrong:
                names.add(name)
        number = port.get("containerPort") or 0
        errors += port_number(f"{field}.containerPort", number) if number else [required(f"{field}.containerPort")]
        if port.get("hostPort"):
            errors += port_number(f"{field}.hostPort", port["hostPort"])
        protocol = port.get("protocol") or ""
        if not protocol:
            errors.append(required(f"{field}.protocol"))
        elif protocol not in _PROTOCOLS:
            errors.append(not_supported(f"{field}.protocol", protocol, _PROTOCOLS))
    return errors


def _host_port_errors(path: str, containers: Sequence[Mapping[str, Any]]) -> Errors:
    """``checkHostPortConflicts``: a host port is taken by one container port alone."""
    errors: Errors = []
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            text = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if text in taken:
                errors.append(duplicate(f"{path}[{index}].ports[{number}].hostPort", text))
            taken.add(text)
    return errors


def _claim_errors(path: str, claims: Sequence[Mapping[str, Any]], known: tuple[str, ...]) -> Errors:
    """``validateResourceClaimNames``: a claim is used as a whole or by requests, each of them once."""
    errors: Errors = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        field, name, request = f"{path}[{index}]", claim.get("name") or "", claim.get("request") or ""
        if not name:
            errors.append(required(field))
            continue
        key = f"{name}/{request}" if request else name
        if name in seen:
            errors.append(duplicate(field, name))
        else:
            errors += label(f"{field}.request", request) if request else []
            if key in seen:
                errors.append(duplicate(field, key))
            elif not request:
                errors += [duplicate(field, name) for other in seen if other.partition("/")[0] == name]
            seen.add(key)
        if name not in known:
            listed = ": " + ", ".join(known) if known else " which is empty"
            text = f"must be one of the names in pod.spec.resourceClaims{listed}"
            errors.append(FieldError("FieldValueNotFound", field, name, text))
    return errors


def _resize_errors(path: str, policies: Sequence[Mapping[str, Any]], restart_policy: str) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        field, resource = f"{path}[{index}]", policy.get("resourceName") or ""
        if resource in seen:
            errors.append(duplicate(field, resource))
        seen.add(resource)
        if not resource:
            errors.append(required(path))
        elif resource not in ("cpu", "memory"):
            errors.append(not_supported_in_order(path, resource, ("cpu", "memory")))
        restart = policy.get("restartPolicy") or ""
        if not restart:
            errors.append(required(path))
        elif restart not in ("NotRequired", "RestartContainer"):
            errors.append(not_supported_in_order(path, restart, ("NotRequired", "RestartContainer")))
        if restart_policy == "Never" and restart != "NotRequired":
            text = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            errors.append(invalid_value(path, restart, text))
    return errors
