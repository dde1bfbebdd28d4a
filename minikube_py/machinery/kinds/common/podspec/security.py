"""Security contexts of pods and containers, and what an operating system forbids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, forbidden_field, invalid_value, required, too_long
from minikube_py.machinery.kinds.common.checks import Errors, not_supported_in_order, one_of, one_of_in_order
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.podspec.paths import containers_with_paths, descending_path_errors
from minikube_py.machinery.kinds.common.podspec.windows import windows_option_errors

MAX_ID = 2**31 - 1
_ID_TEXT = f"must be between 0 and {MAX_ID}, inclusive"
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_LENGTH = 253
_MAX_PATH = 4095


def id_errors(path: str, value: int | None) -> Errors:
    if value is not None and not 0 <= value <= MAX_ID:
        return [invalid_value(path, value, _ID_TEXT)]
    return []


def pod_security_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validatePodSpecSecurityContext``."""
    context = spec.get("securityContext") or {}
    field = f"{path}.securityContext"
    errors: Errors = []
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        errors += id_errors(f"{field}.{name}", context.get(name))
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        errors += id_errors(f"{field}.supplementalGroups[{index}]", group)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(invalid_value(f"{field}.shareProcessNamespace", True, text))
    errors += _sysctl_errors(f"{field}.sysctls", context.get("sysctls") or (), spec)
    if context.get("fsGroupChangePolicy") is not None:
        errors += one_of(f"{field}.fsGroupChangePolicy", context["fsGroupChangePolicy"], ("Always", "OnRootMismatch"))
    errors += _seccomp_errors(f"{field}.seccompProfile", context.get("seccompProfile"))
    errors += windows_option_errors(f"{field}.windowsOptions", context.get("windowsOptions"))
    errors += app_armor_errors(f"{field}.appArmorProfile", context.get("appArmorProfile"))
    if context.get("supplementalGroupsPolicy") is not None:
        errors += one_of(f"{field}.supplementalGroupsPolicy", context["supplementalGroupsPolicy"], ("Merge", "Strict"))
    if context.get("seLinuxChangePolicy") is not None:
        errors += one_of(f"{field}.seLinuxChangePolicy", context["seLinuxChangePolicy"], ("MountOption", "Recursive"))
    return errors


def _sysctl_errors(path: str, sysctls: Any, spec: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        field, name = f"{path}[{index}].name", sysctl.get("name") or ""
        if not name:
            errors.append(required(field))
        elif len(name) > _SYSCTL_LENGTH or not re.fullmatch(_SYSCTL, name):
            text = f"must have at most {_SYSCTL_LENGTH} characters and match regex ^{_SYSCTL}$"
            errors.append(invalid_value(field, name, text))
        elif name in seen:
            errors.append(duplicate(field, name))
        errors += _host_sysctl_errors(field, name, spec)
        seen.add(name)
    return errors


_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def _host_sysctl_errors(path: str, name: str, spec: Mapping[str, Any]) -> Errors:
    """``ValidateHostSysctl``: what belongs to a namespace of the host is not a pod's to change."""
    dotted = name.replace("/", ".")
    if spec.get("hostNetwork") and dotted.startswith("net."):
        return [invalid_value(path, name, "may not be specified when 'hostNetwork' is true")]
    if spec.get("hostIPC") and (dotted.startswith(_IPC_SYSCTLS) or dotted == "kernel.sem"):
        return [invalid_value(path, name, "may not be specified when 'hostIPC' is true")]
    return []


def container_security_errors(path: str, context: Mapping[str, Any] | None, *, host_users: bool) -> Errors:
    """``ValidateSecurityContext``."""
    if context is None:
        return []
    errors = id_errors(f"{path}.runAsUser", context.get("runAsUser"))
    errors += id_errors(f"{path}.runAsGroup", context.get("runAsGroup"))
    mount = context.get("procMount")
    if mount is not None:
        errors += one_of_in_order(f"{path}.procMount", mount, ("Default", "Unmasked"))
        if mount == "Unmasked" and host_users:
            text = "`hostUsers` must be false to use `Unmasked`"
            errors.append(invalid_value(f"{path}.procMount", mount, text))
    errors += _seccomp_errors(f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        errors += _escalation_errors(path, context)
    errors += windows_option_errors(f"{path}.windowsOptions", context.get("windowsOptions"))
    return errors + app_armor_errors(f"{path}.appArmorProfile", context.get("appArmorProfile"))


def _escalation_errors(path: str, context: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    shown = go_object("SecurityContext", context)
    if context.get("privileged"):
        text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        errors.append(invalid_value(path, shown, text))
    if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
        text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        errors.append(invalid_value(path, shown, text))
    return errors


def _seccomp_errors(path: str, profile: Mapping[str, Any] | None) -> Errors:
    if profile is None:
        return []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    errors: Errors
    if not kind:
        errors = [required(f"{path}.type", "type is required when seccompProfile is set")]
    else:
        errors = one_of_in_order(f"{path}.type", kind, ("Localhost", "RuntimeDefault", "Unconfined"))
    if kind == "Localhost":
        if local is None:
            errors.append(required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            errors += descending_path_errors(f"{path}.localhostProfile", local)
    elif local is not None:
        text = "can only be set when seccomp type is Localhost"
        errors.append(invalid_value(f"{path}.localhostProfile", go_object("SeccompProfile", profile), text))
    return errors


def app_armor_errors(path: str, profile: Mapping[str, Any] | None) -> Errors:
    """``ValidateAppArmorProfileField``."""
    if profile is None:
        return []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    field = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None:
            return [required(field, "must be set when AppArmor type is Localhost")]
        errors: Errors = []
        if local.strip() != local:
            errors.append(invalid_value(field, local, "must not be padded with whitespace"))
        elif not local:
            errors.append(required(field, "must be set when AppArmor type is Localhost"))
        return [*errors, too_long(field, _MAX_PATH)] if len(local.encode()) > _MAX_PATH else errors
    if kind in ("RuntimeDefault", "Unconfined"):
        text = "can only be set when AppArmor type is Localhost"
        return [invalid_value(field, local, text)] if local is not None else []
    if not kind:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    return [not_supported_in_order(f"{path}.type", kind, ("Localhost", "RuntimeDefault", "Unconfined"))]


def operating_system_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validateOS`` and the fields that do not exist on the chosen system."""
    system = spec.get("os")
    if system is None:
        return []
    name = system.get("name") or ""
    if not name:
        return [required(f"{path}.os.name", "cannot be empty")]
    if name not in ("linux", "windows"):
        return [not_supported_in_order(f"{path}.os", name, ("linux", "windows"))]
    return _linux_errors(path, spec) if name == "linux" else _windows_errors(path, spec)


def _linux_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    text = "windows options cannot be set for a linux pod"
    contexts = [(f"{path}.securityContext", spec.get("securityContext") or {}), *_container_contexts(path, spec)]
    return [
        forbidden_field(f"{field}.windowsOptions", text)
        for field, found in contexts
        if found.get("windowsOptions") is not None
    ]


_POD_ONLY_LINUX = (
    "appArmorProfile", "seLinuxOptions", "/hostUsers", "/hostPID", "/hostIPC", "seccompProfile", "fsGroup",
    "fsGroupChangePolicy", "sysctls", "/shareProcessNamespace", "runAsUser", "runAsGroup", "supplementalGroups",
    "supplementalGroupsPolicy", "seLinuxChangePolicy",
)  # fmt: skip
"""In Kubernetes' order; with a slash those that lie beside the security context."""
_CONTAINER_ONLY_LINUX = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip
_NOT_ON_WINDOWS = "cannot be set for a windows pod"


def _windows_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    context = spec.get("securityContext") or {}
    errors: list[FieldError] = []
    for name in _POD_ONLY_LINUX:
        holder, field = (spec, name[1:]) if name[0] == "/" else (context, f"securityContext.{name}")
        if holder.get(name.lstrip("/")) is not None:
            errors.append(forbidden_field(f"{path}.{field}", _NOT_ON_WINDOWS))
    for field, found in _container_contexts(path, spec):
        errors += [
            forbidden_field(f"{field}.{name}", _NOT_ON_WINDOWS)
            for name in _CONTAINER_ONLY_LINUX
            if found.get(name) is not None
        ]
    return errors


def _container_contexts(path: str, spec: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (f"{field}.securityContext", container.get("securityContext") or {})
        for field, container in containers_with_paths(path, spec)
    ]


def host_users_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validateHostUsers``: a user namespace excludes the host's other namespaces."""
    if spec.get("hostUsers") is not False:
        return []
    text = "when `hostUsers` is false"
    shared = (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC"))
    errors = [forbidden_field(f"{path}.{shown}", text) for name, shown in shared if spec.get(name)]
    for field, container in containers_with_paths(path, spec):
        if container.get("volumeDevices"):
            errors.append(forbidden_field(f"{field}.volumeDevices", text))
    return errors
