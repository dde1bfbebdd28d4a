"""Statuses of containers as the kubelet reports them (parts of ``ValidatePodStatusUpdate``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, forbidden_field, invalid_value, required, too_long
from minikube_py.machinery.kinds.common.checks import Errors, one_of
from minikube_py.machinery.kinds.common.podspec.security import id_errors
from minikube_py.machinery.objects import Object

_SORTS = (
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
)
_LONGEST_MESSAGE = 1024
_CLAIM = "claim:"
_NO_CLAIM = (
    "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
    "'claim:<claimName>' if request is empty"
)


def transition_errors(status: Mapping[str, Any], before: Mapping[str, Any], spec: Mapping[str, Any]) -> Errors:
    """A terminated container that may not restart cannot be reported as running again."""
    errors: Errors = []
    for field, sort in _SORTS:
        known = {c.get("name"): c for c in spec.get(sort) or ()} if sort != "ephemeralContainers" else {}
        if known and _all_may_restart(spec):
            continue
        errors += _state_errors(f"status.{field}", status.get(field) or (), before.get(field) or (), spec, known)
    return errors


def _all_may_restart(spec: Mapping[str, Any]) -> bool:
    """Whether an exit of some container restarts all of them."""
    return any(
        rule.get("action") == "RestartAllContainers"
        for sort in ("initContainers", "containers")
        for container in spec.get(sort) or ()
        for rule in container.get("restartPolicyRules") or ()
    )


def _state_errors(
    path: str,
    new: Sequence[Mapping[str, Any]],
    before: Sequence[Mapping[str, Any]],
    spec: Mapping[str, Any],
    containers: Mapping[Any, Mapping[str, Any]],
) -> Errors:
    states = {status.get("name"): status.get("state") or {} for status in new}
    errors: Errors = []
    for index, status in enumerate(before):
        terminated, name = (status.get("state") or {}).get("terminated"), status.get("name")
        if terminated is None or name not in states or states[name].get("terminated") is not None:
            continue
        if name not in containers or not _restarts(containers[name], spec, terminated.get("exitCode") or 0):
            errors.append(forbidden_field(f"{path}[{index}].state", "may not be transitioned to non-terminated state"))
    return errors


def _restarts(container: Mapping[str, Any], spec: Mapping[str, Any], code: int) -> bool:
    """``ContainerShouldRestart``: its rules, then its own policy, then the pod's."""
    own = container.get("restartPolicy")
    if own is not None and any(_matches(rule, code) for rule in container.get("restartPolicyRules") or ()):
        return True
    policy = own or spec.get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def _matches(rule: Mapping[str, Any], code: int) -> bool:
    codes = rule.get("exitCodes") or {}
    listed = code in (codes.get("values") or ())
    return {"In": listed, "NotIn": not listed}.get(codes.get("operator") or "", False)


def container_status_errors(pod: Object) -> Errors:
    """Users are users of the pod's system; health is reported of resources that the container asked for."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    errors: Errors = []
    system = (spec.get("os") or {}).get("name") or "linux"
    for field, _ in _SORTS:
        for index, found in enumerate(status.get(field) or ()):
            errors += _user_errors(f"status.{field}[{index}].user.linux", found.get("user") or {}, system)
    for field, sort in _SORTS:
        for index, found in enumerate(status.get(field) or ()):
            listed, path = found.get("allocatedResourcesStatus"), f"status.{field}[{index}].allocatedResourcesStatus"
            if listed and sort == "ephemeralContainers":
                errors.append(forbidden_field(path, "must not be specified in container status"))
            elif listed:
                container = next((c for c in spec.get(sort) or () if c.get("name") == found.get("name")), None)
                errors += _allocated_errors(path, listed, container)
    return errors


def _user_errors(path: str, user: Mapping[str, Any], system: str) -> Errors:
    found = user.get("linux")
    if found is None:
        return []
    if system == "windows":
        return [forbidden_field(path, "cannot be set for a windows pod")]
    errors = id_errors(f"{path}.uid", found.get("uid") or 0) + id_errors(f"{path}.gid", found.get("gid") or 0)
    for index, group in enumerate(found.get("supplementalGroups") or ()):
        errors += id_errors(f"{path}.supplementalGroups[{index}]", group)
    return errors


def _allocated_errors(path: str, listed: Sequence[Mapping[str, Any]], container: Mapping[str, Any] | None) -> Errors:
    errors: Errors = []
    for index, allocated in enumerate(listed):
        name = allocated.get("name") or ""
        if container is not None and name not in _asked_for(container, name):
            text = _NO_CLAIM if name.startswith(_CLAIM) else "must match one of the container's resource requests"
            errors.append(invalid_value(f"{path}[{index}].name", name, text))
        seen: set[str] = set()
        for number, resource in enumerate(allocated.get("resources") or ()):
            errors += _health_errors(f"{path}[{index}].resources[{number}]", resource, seen)
    return errors


def _asked_for(container: Mapping[str, Any], name: str) -> set[str]:
    resources = container.get("resources") or {}
    if not name.startswith(_CLAIM):
        return set(resources.get("requests") or ())
    return {
        _CLAIM + "/".join(part for part in (claim.get("name"), claim.get("request")) if part)
        for claim in resources.get("claims") or ()
    }


def _health_errors(path: str, resource: Mapping[str, Any], seen: set[str]) -> Errors:
    errors = one_of(f"{path}.health", resource.get("health") or "", ("Healthy", "Unhealthy", "Unknown"))
    message = resource.get("message")
    if message == "":
        errors.append(required(f"{path}.message", "must be non-empty if specified"))
    elif message is not None and len(message.encode()) > _LONGEST_MESSAGE:
        errors.append(too_long(f"{path}.message", _LONGEST_MESSAGE))
    identity = resource.get("resourceID") or ""
    if identity in seen:
        errors.append(duplicate(f"{path}.resourceID", identity))
    seen.add(identity)
    return errors
