"""Fields of pods behind feature gates that Kubernetes v1.36 has off (``dropDisabledFields``).

A new object loses them silently; one that has them already keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from minikube_py.machinery.kinds.common.podspec.paths import containers_with_paths
from minikube_py.machinery.objects import Object

_PROJECTIONS = ("clusterTrustBundle", "podCertificate")


def drop_gated_fields(spec: Object, before: Mapping[str, Any] | None = None) -> None:
    """Drop them from a draft's spec, unless the old spec uses them."""
    old = before or {}
    if "schedulingGroup" in spec and old.get("schedulingGroup") is None:
        del spec["schedulingGroup"]
    for name in _PROJECTIONS:
        used = [source for source in _projections(spec) if source.get(name) is not None]
        if used and not any(source.get(name) is not None for source in _projections(old)):
            for source in used:
                del source[name]
    stopped = [container for container in _hooked(spec) if container["lifecycle"].get("stopSignal") is not None]
    if stopped and not any(container["lifecycle"].get("stopSignal") is not None for container in _hooked(old)):
        for container in stopped:
            del container["lifecycle"]["stopSignal"]
            if not container["lifecycle"]:
                del container["lifecycle"]


def drop_gated_template_fields(template: Object | None, before: Mapping[str, Any] | None = None) -> None:
    """The same for a pod template, which may be missing."""
    if template and template.get("spec"):
        drop_gated_fields(template["spec"], (before or {}).get("spec"))


def gated_create(prepare: Callable[[Object], None], *path: str) -> Callable[[Object], None]:
    """A workload's ``prepare_create`` that drops them from the pod template at the path as well."""

    def prepare_create(draft: Object) -> None:
        prepare(draft)
        drop_gated_template_fields(_part(draft, path))

    return prepare_create


def gated_update(
    *path: str, prepare: Callable[[Object, Object], None] | None = None
) -> Callable[[Object, Object], None]:
    """The same for ``prepare_update``."""

    def prepare_update(draft: Object, old: Object) -> None:
        drop_gated_template_fields(_part(draft, path), _part(old, path))
        if prepare is not None:
            prepare(draft, old)

    return prepare_update


def _part(obj: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        obj = (obj or {}).get(name)
    return obj


def drop_gated_status(status: Object, before: Mapping[str, Any]) -> None:
    """The same for what a pod's status tells (``dropDisabledPodStatusFields``)."""
    if "nodeAllocatableResourceClaimStatuses" in status and not before.get("nodeAllocatableResourceClaimStatuses"):
        del status["nodeAllocatableResourceClaimStatuses"]
    told = [mount for mount in _reported_mounts(status) if mount.get("volumeStatus") is not None]
    if told and not any(mount.get("volumeStatus") is not None for mount in _reported_mounts(before)):
        for mount in told:
            del mount["volumeStatus"]


def _reported_mounts(status: Mapping[str, Any]) -> Iterator[Any]:
    for sort in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for container in status.get(sort) or ():
            yield from container.get("volumeMounts") or ()


def _projections(spec: Mapping[str, Any]) -> Iterator[Any]:
    for volume in spec.get("volumes") or ():
        yield from (volume.get("projected") or {}).get("sources") or ()


def _hooked(spec: Mapping[str, Any]) -> Iterator[Any]:
    return (container for _, container in containers_with_paths("", spec) if container.get("lifecycle"))
