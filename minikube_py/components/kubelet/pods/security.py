"""Security contexts of pod and container as the runtime's records. Raises ``ConfigProblem``."""

from __future__ import annotations

from typing import Any

from minikube_py.components.kubelet.pods.env import ConfigProblem
from minikube_py.components.kubelet.pods.model import describe, spec_of
from minikube_py.components.kubelet.runtime.types import (
    ContainerSecurity,
    Image,
    NamespaceMode,
    NamespaceOptions,
    SecurityProfile,
)
from minikube_py.machinery.objects import Object

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def effective(pod: Object, container: Object, key: str) -> Any:
    """A setting of the container's security context, else of the pod's."""
    own = (container.get("securityContext") or {}).get(key)
    return own if own is not None else (spec_of(pod).get("securityContext") or {}).get(key)


def namespaces_of(pod: Object, *, target_id: str = "") -> NamespaceOptions:
    """Which namespaces the pod shares with the node or among its containers."""
    spec = spec_of(pod)
    if target_id:
        pid = NamespaceMode.TARGET
    elif spec.get("hostPID"):
        pid = NamespaceMode.NODE
    elif spec.get("shareProcessNamespace"):
        pid = NamespaceMode.POD
    else:
        pid = NamespaceMode.CONTAINER
    return NamespaceOptions(
        network=NamespaceMode.NODE if spec.get("hostNetwork") else NamespaceMode.POD,
        pid=pid,
        ipc=NamespaceMode.NODE if spec.get("hostIPC") else NamespaceMode.POD,
        target_id=target_id,
    )


def seccomp_profile(profile: Object | None, privileged: bool, *, default: str = "Unconfined") -> SecurityProfile:
    """``default`` is for who asks for none. Privileged containers are always unconfined."""
    if privileged or not profile:
        return SecurityProfile("Unconfined" if privileged else default)
    return SecurityProfile(profile["type"], profile.get("localhostProfile") or "")


def selinux_options(options: Object | None) -> dict[str, str]:
    return {key: str(value) for key, value in (options or {}).items() if value}


def container_security(
    pod: Object, container: Object, image: Image | None, *, target_id: str = "", seccomp_default: bool = False
) -> ContainerSecurity:
    """The runtime's view of a container's security context. ``seccomp_default`` is the kubelet's option.

    Refuses a container that must not run as root but would (``verifyRunAsNonRoot``).
    """
    own = container.get("securityContext") or {}
    privileged = bool(own.get("privileged"))
    user = effective(pod, container, "runAsUser")
    username = ""
    if user is None and image is not None:
        user, username = image.uid, image.username if image.uid is None else ""
    _verify_non_root(pod, container, user, username, explicit=effective(pod, container, "runAsUser") is not None)
    capabilities = own.get("capabilities") or {}
    apparmor = effective(pod, container, "appArmorProfile")
    unmasked = own.get("procMount") == "Unmasked" or privileged
    return ContainerSecurity(
        privileged=privileged,
        run_as_user=user,
        run_as_group=effective(pod, container, "runAsGroup"),
        run_as_username=username if user is None else "",
        supplemental_groups=supplemental_groups(pod),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        no_new_privs=own.get("allowPrivilegeEscalation") is False and not privileged,
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        seccomp=seccomp_profile(
            effective(pod, container, "seccompProfile"),
            privileged,
            default="RuntimeDefault" if seccomp_default else "Unconfined",
        ),
        apparmor=SecurityProfile(apparmor["type"], apparmor.get("localhostProfile") or "") if apparmor else None,
        selinux=selinux_options(effective(pod, container, "seLinuxOptions")),
        masked_paths=() if unmasked else MASKED_PATHS,
        readonly_paths=() if unmasked else READONLY_PATHS,
        namespaces=namespaces_of(pod, target_id=target_id),
    )


def supplemental_groups(pod: Object) -> tuple[int, ...]:
    """The pod's supplemental groups, fsGroup included."""
    context = spec_of(pod).get("securityContext") or {}
    groups = list(context.get("supplementalGroups") or ())
    if context.get("fsGroup") is not None:
        groups.append(context["fsGroup"])
    return tuple(dict.fromkeys(groups))


def _verify_non_root(pod: Object, container: Object, user: int | None, username: str, *, explicit: bool) -> None:
    if not effective(pod, container, "runAsNonRoot"):
        return
    where = f'(pod: "{describe(pod)}", container: {container["name"]})'
    if explicit:
        if user == 0:
            raise ConfigProblem(f"container's runAsUser breaks non-root policy {where}")
    elif user == 0:
        raise ConfigProblem(f"container has runAsNonRoot and image will run as root {where}")
    elif user is None and username:
        raise ConfigProblem(
            f"container has runAsNonRoot and image has non-numeric user ({username}), "
            f"cannot verify user is non-root {where}"
        )
