"""The checks that the restricted level adds. Same rules and texts as ``pod-security-admission/policy``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.components.apiserver.admission.pod_security.baseline import in_user_namespace
from minikube_py.components.apiserver.admission.pod_security.findings import (
    Finding,
    Subject,
    containers_named,
    plural,
    quote,
    setters,
)

_VOLUME_TYPES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SECCOMP_TYPES = ("RuntimeDefault", "Localhost")
# Since this version the checks that mean nothing on Windows leave its pods alone.
windows_exempt_since_minor = 25


def _exempts_windows(subject: Subject, minor: int) -> bool:
    return subject.is_windows and minor >= windows_exempt_since_minor


def allow_privilege_escalation(subject: Subject, minor: int) -> Finding | None:
    if _exempts_windows(subject, minor):
        return None
    names = [name for name, context in subject.contexts() if context.get("allowPrivilegeEscalation") is not False]
    if not names:
        return None
    detail = f"{containers_named(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail)


def capabilities(subject: Subject, minor: int) -> Finding | None:
    if _exempts_windows(subject, minor):
        return None
    undropped: list[str] = []
    adding: list[str] = []
    added: set[str] = set()
    for name, context in subject.contexts():
        given = context.get("capabilities") or {}
        if "ALL" not in (given.get("drop") or ()):
            undropped.append(name)
        extra = set(given.get("add") or ()) - {"NET_BIND_SERVICE"}
        if extra:
            adding.append(name)
            added |= extra
    parts = []
    if undropped:
        parts.append(f'{containers_named(undropped)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        listed = quote(sorted(added))
        parts.append(f"{containers_named(adding)} must not include {listed} in securityContext.capabilities.add")
    return Finding("unrestricted capabilities", "; ".join(parts)) if parts else None


def restricted_volumes(subject: Subject, minor: int) -> Finding | None:
    names: list[str] = []
    types: set[str] = set()
    for volume in subject.spec.get("volumes") or ():
        bad = [key for key in volume if key != "name" and volume[key] is not None and key not in _VOLUME_TYPES]
        if bad:
            names.append(str(volume.get("name", "")))
            types |= set(bad)
    if not names:
        return None
    return Finding(
        "restricted volume types",
        f"{plural('volume', 'volumes', len(names))} {quote(names)} {plural('uses', 'use', len(names))} restricted "
        f"volume {plural('type', 'types', len(types))} {quote(sorted(types))}",
    )


def run_as_non_root(subject: Subject, minor: int) -> Finding | None:
    if in_user_namespace(subject, minor):
        return None
    pod_setting = subject.pod_context.get("runAsNonRoot")
    bad: list[str] = []
    unset: list[str] = []
    for name, context in subject.contexts():
        setting = context.get("runAsNonRoot")
        if setting is None and pod_setting is not True:
            unset.append(name)
        elif setting is False:
            bad.append(name)
    # A pod that says false is refused even where every container says otherwise.
    pod_bad = pod_setting is False
    if pod_bad or bad:
        where = setters(pod_bad, bad)
        return Finding("runAsNonRoot != true", f"{where} must not set securityContext.runAsNonRoot=false")
    if unset:
        detail = f"pod or {containers_named(unset)} must set securityContext.runAsNonRoot=true"
        return Finding("runAsNonRoot != true", detail)
    return None


def run_as_user(subject: Subject, minor: int) -> Finding | None:
    if in_user_namespace(subject, minor):
        return None
    pod = subject.pod_context.get("runAsUser") == 0
    names = [name for name, context in subject.contexts() if context.get("runAsUser") == 0]
    if not pod and not names:
        return None
    return Finding("runAsUser=0", f"{setters(pod, names)} must not set runAsUser=0")


def seccomp_profile(subject: Subject, minor: int) -> Finding | None:
    if _exempts_windows(subject, minor):
        return None
    pod_type = _seccomp(subject.pod_context)
    bad_types: set[str] = set()
    bad: list[str] = []
    unset: list[str] = []
    for name, context in subject.contexts():
        kind = _seccomp(context)
        if kind is None:
            if pod_type is None:
                unset.append(name)
        elif kind not in _SECCOMP_TYPES:
            bad.append(name)
            bad_types.add(kind)
    pod_bad = pod_type is not None and pod_type not in _SECCOMP_TYPES
    if pod_bad and pod_type is not None:
        bad_types.add(pod_type)
    if pod_bad or bad:
        where = setters(pod_bad, bad)
        listed = quote(sorted(bad_types))
        return Finding("seccompProfile", f"{where} must not set securityContext.seccompProfile.type to {listed}")
    if unset:
        return Finding(
            "seccompProfile",
            f'pod or {containers_named(unset)} must set securityContext.seccompProfile.type to "RuntimeDefault" or '
            '"Localhost"',
        )
    return None


def _seccomp(context: Mapping[str, Any]) -> str | None:
    profile = context.get("seccompProfile")
    return None if profile is None else str(profile.get("type") or "")
