"""Profiles that a pod names in an annotation and in a field must be the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import forbidden_field
from minikube_py.machinery.kinds.common.checks import Errors
from minikube_py.machinery.kinds.common.podspec.annotations import (
    APP_ARMOR,
    SECCOMP_CONTAINER,
    SECCOMP_POD,
)
from minikube_py.machinery.kinds.common.podspec.paths import containers_with_paths

_LOCAL = "localhost/"
_SECCOMP_TEXTS = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}
_APP_ARMOR_TEXTS = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}


def profile_errors(path: str, annotations: Mapping[str, str], spec: Mapping[str, Any]) -> Errors:
    """``validateSeccompAnnotationsAndFields`` and its like for AppArmor; ``path`` is that of the spec."""
    if not any(key.startswith((SECCOMP_POD, SECCOMP_CONTAINER, APP_ARMOR)) for key in annotations):
        return []
    whole = spec.get("securityContext") or {}
    errors = _seccomp_errors(f"{path}.securityContext.seccompProfile", whole.get("seccompProfile"),
                             annotations.get(SECCOMP_POD))  # fmt: skip
    containers = [
        (f"{field}.securityContext", container.get("securityContext") or {}, container.get("name") or "")
        for field, container in containers_with_paths(path, spec)
    ]
    for field, context, name in containers:
        noted = annotations.get(f"{SECCOMP_CONTAINER}{name}")
        errors += _seccomp_errors(f"{field}.seccompProfile", context.get("seccompProfile"), noted)
    if (spec.get("os") or {}).get("name") == "windows":
        return errors
    for field, context, name in containers:
        profile = context.get("appArmorProfile")
        noted = annotations.get(f"{APP_ARMOR}{name}")
        profile = whole.get("appArmorProfile") if profile is None else profile
        errors += _match_errors(f"{field}.appArmorProfile", "apparmor", profile, noted, _APP_ARMOR_TEXTS)
    return errors


def _seccomp_errors(path: str, profile: Mapping[str, Any] | None, noted: str | None) -> Errors:
    return _match_errors(path, "seccomp", profile, noted, _SECCOMP_TEXTS)


def _match_errors(
    path: str,
    sort: str,
    profile: Mapping[str, Any] | None,
    noted: str | None,
    texts: Mapping[str, tuple[str, ...]],
) -> Errors:
    if profile is None or noted is None:
        return []
    kind = profile.get("type") or ""
    if kind in texts:
        matches = noted in texts[kind]
    elif kind == "Localhost":
        matches = noted.startswith(_LOCAL)
        if matches and noted.removeprefix(_LOCAL) != profile.get("localhostProfile"):
            return [forbidden_field(f"{path}.localhostProfile", f"{sort} profile in annotation and field must match")]
    else:
        return []
    return [] if matches else [forbidden_field(f"{path}.type", f"{sort} type in annotation and field must match")]
