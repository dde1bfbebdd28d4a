"""AppArmor profiles that a new pod names in annotations become fields (``applyAppArmorVersionSkew``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.machinery.kinds.common.podspec.annotations import APP_ARMOR
from minikube_py.machinery.kinds.common.podspec.paths import containers_with_paths
from minikube_py.machinery.kinds.common.podspec.security import app_armor_errors
from minikube_py.machinery.objects import Object

_LOCAL = "localhost/"
_MEANT = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}


def synchronise(pod: Object) -> None:
    """Give each container with such an annotation, and no profile of its own, the field."""
    for container, _, meant in _noted_alone(pod):
        if meant is not None:
            context = container.get("securityContext")
            if context is None:
                context = container["securityContext"] = {}
            context["appArmorProfile"] = meant


def early_warnings(pod: Object) -> list[str]:
    """What a new pod's annotations earn before they become fields."""
    text = 'deprecated since v1.30; use the "appArmorProfile" field instead'
    return [f"metadata.annotations[{key}]: {text}" for _, key, _ in _noted_alone(pod)]


def _noted_alone(pod: Object) -> Iterator[tuple[Any, str, Object | None]]:
    """Containers whose profile only an annotation names: (container, key, the profile where it is a valid one).

    An annotation that says what holds for the whole pod is left out; so are pods of Windows.
    """
    annotations, spec = _annotations(pod), pod.get("spec") or {}
    if not any(key.startswith(APP_ARMOR) for key in annotations) or (spec.get("os") or {}).get("name") == "windows":
        return
    whole = (spec.get("securityContext") or {}).get("appArmorProfile")
    for _, container in containers_with_paths("", spec):
        key = f"{APP_ARMOR}{container.get('name') or ''}"
        if key in annotations and (container.get("securityContext") or {}).get("appArmorProfile") is None:
            meant = _profile_of(annotations[key])
            if meant is None or meant != whole:
                yield container, key, meant


def _annotations(pod: Mapping[str, Any]) -> Mapping[str, str]:
    return (pod.get("metadata") or {}).get("annotations") or {}


def _profile_of(text: str) -> Object | None:
    """The profile that an annotation means, when it is a valid one."""
    if text.startswith(_LOCAL):
        meant: Object = {"type": "Localhost", "localhostProfile": text.removeprefix(_LOCAL)}
    elif text in _MEANT:
        meant = {"type": _MEANT[text]}
    else:
        return None
    return None if app_armor_errors("", meant) else meant
