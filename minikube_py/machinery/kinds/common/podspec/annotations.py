"""Annotations that mean something to pods (``ValidatePodSpecificAnnotations``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import invalid_value
from minikube_py.machinery.kinds.common.checks import Errors
from minikube_py.machinery.kinds.common.podspec.paths import descending_path_errors

MIRROR = "kubernetes.io/config.mirror"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_SECCOMP_PROFILES = ("runtime/default", "docker/default", "unconfined")
_COST = re.compile(r"-?(0|[1-9][0-9]*)|\+?0")


def pod_annotation_errors(path: str, annotations: Mapping[str, str], spec: Mapping[str, Any]) -> Errors:
    """Errors of a pod's or template's annotations."""
    errors: Errors = []
    if MIRROR in annotations and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(invalid_value(f"{path}[{MIRROR}]", annotations[MIRROR], text))
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not _is_cost(cost):
        errors.append(invalid_value(f"{path}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    if SECCOMP_POD in annotations:
        errors += _seccomp_errors(f"{path}.{SECCOMP_POD}", annotations[SECCOMP_POD])
    for key in sorted(annotations):
        if key.startswith(SECCOMP_CONTAINER):
            errors += _seccomp_errors(f"{path}.{key}", annotations[key])
    return errors + _app_armor_errors(path, annotations, spec)


def _is_cost(text: str) -> bool:
    """A 32 bit number without a plus sign or zeros in front (``GetDeletionCostFromPodAnnotations``)."""
    return bool(_COST.fullmatch(text)) and -(2**31) <= int(text) < 2**31 and not text.startswith("+")


def _seccomp_errors(path: str, profile: str) -> Errors:
    if profile in _SECCOMP_PROFILES:
        return []
    if profile.startswith("localhost/"):
        return descending_path_errors(path, profile.removeprefix("localhost/"))
    return [invalid_value(path, profile, "must be a valid seccomp profile")]


def _app_armor_errors(path: str, annotations: Mapping[str, str], spec: Mapping[str, Any]) -> Errors:
    names = {
        container.get("name")
        for sort in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(sort) or ()
    }
    errors: Errors = []
    for key, profile in sorted(annotations.items()):
        if not key.startswith(APP_ARMOR):
            continue
        name = key.removeprefix(APP_ARMOR)
        if name not in names:
            errors.append(invalid_value(f"{path}[{key}]", name, "container not found"))
        if profile not in ("", "runtime/default", "unconfined") and not profile.startswith("localhost/"):
            text = f'invalid AppArmor profile name: "{profile}"'
            errors.append(invalid_value(f"{path}[{key}]", profile, text))
    return errors
