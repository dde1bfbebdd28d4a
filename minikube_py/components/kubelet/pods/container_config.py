"""Builds the runtime's description of one container: command, environment, mounts, limits, security.

``container_config`` prepares what the container needs on the host (termination log, subPath mounts,
hosts file) and returns the record. Raises ConfigProblem, VolumeProblem or OSError.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.dns import hosts_file
from minikube_py.components.kubelet.pods.env import ConfigProblem, EnvSources, environment
from minikube_py.components.kubelet.pods.expansion import expand
from minikube_py.components.kubelet.pods.model import (
    CONTAINER_NAME_LABEL,
    DELETION_GRACE_ANNOTATION,
    HASH_ANNOTATION,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    PORTS_ANNOTATION,
    PRE_STOP_ANNOTATION,
    RESTART_COUNT_ANNOTATION,
    TERMINATION_GRACE_ANNOTATION,
    TERMINATION_PATH_ANNOTATION,
    TERMINATION_POLICY_ANNOTATION,
    container_hash,
    host_network,
    spec_of,
)
from minikube_py.components.kubelet.pods.resources import container_resources
from minikube_py.components.kubelet.pods.security import container_security
from minikube_py.components.kubelet.runtime.types import ContainerConfig, Image, Mount, Propagation
from minikube_py.components.kubelet.volumes.mounting import unmount
from minikube_py.components.kubelet.volumes.subpath import bind_subpath
from minikube_py.components.kubelet.volumes.types import Mounted
from minikube_py.machinery.objects import Object, metadata, name_of, namespace_of, uid_of

default_termination_path = "/dev/termination-log"
most_termination_logs = 3
"""Files of earlier containers of this name that are kept; the runtime keeps no more of them either."""
_PROPAGATION = {"HostToContainer": Propagation.HOST_TO_CONTAINER, "Bidirectional": Propagation.BIDIRECTIONAL}


@dataclass(frozen=True, slots=True)
class Making:
    """A container that is about to be made."""

    pod: Object
    container: Object
    restart_count: int
    image_reference: str
    image: Image | None
    pod_ips: tuple[str, ...]
    volumes: Mapping[str, Mounted]
    target_id: str = ""
    """For an ephemeral container: the container whose processes it shares."""


async def container_config(kit: Kit, making: Making, wake: Callable[[], None]) -> ContainerConfig:
    """Kuberuntime's ``generateContainerConfig`` in the seam's records. ``wake`` is called on changes."""
    pod, container = making.pod, making.container
    variables = await environment(pod, container, _sources(kit, making, wake))
    security = container_security(
        pod, container, making.image, target_id=making.target_id, seccomp_default=kit.settings.seccomp_default
    )
    mounts = await asyncio.to_thread(_prepare_mounts, kit, making, variables)
    name = container["name"]
    return ContainerConfig(
        name=name,
        attempt=making.restart_count,
        image=making.image_reference,
        user_specified_image=str(container.get("image") or ""),
        command=tuple(expand(item, variables) for item in container.get("command") or ()),
        args=tuple(expand(item, variables) for item in container.get("args") or ()),
        working_dir=container.get("workingDir") or "",
        env=tuple(variables.items()),
        mounts=tuple(mounts),
        labels={
            CONTAINER_NAME_LABEL: name,
            POD_NAME_LABEL: name_of(pod),
            POD_NAMESPACE_LABEL: namespace_of(pod),
            POD_UID_LABEL: uid_of(pod),
        },
        annotations=_annotations(pod, container, making.restart_count),
        log_path=f"{name}/{making.restart_count}.log",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=container_resources(
            pod, container, memory_capacity=kit.memory_capacity, cfs_quota=kit.settings.cpu_cfs_quota
        ),
        security=security,
    )


def _sources(kit: Kit, making: Making, wake: Callable[[], None]) -> EnvSources:
    uid = uid_of(making.pod)

    async def lookup(kind: str, namespace: str, name: str) -> Object | None:
        return await kit.references.config(kind, namespace, name, owner=uid, wake=wake)

    def volume_path(name: str) -> Path | None:
        found = making.volumes.get(name)
        return found.path if found else None

    return EnvSources(lookup, kit.services(), kit.node, making.pod_ips, volume_path)


def _annotations(pod: Object, container: Object, restart_count: int) -> dict[str, str]:
    found = {
        HASH_ANNOTATION: container_hash(container),
        RESTART_COUNT_ANNOTATION: str(restart_count),
        TERMINATION_PATH_ANNOTATION: container.get("terminationMessagePath") or default_termination_path,
        TERMINATION_POLICY_ANNOTATION: container.get("terminationMessagePolicy") or "File",
    }
    deletion = metadata(pod).get("deletionGracePeriodSeconds")
    if deletion is not None:
        found[DELETION_GRACE_ANNOTATION] = str(deletion)
    grace = spec_of(pod).get("terminationGracePeriodSeconds")
    if grace is not None:
        found[TERMINATION_GRACE_ANNOTATION] = str(grace)
    hook = (container.get("lifecycle") or {}).get("preStop")
    if hook:
        found[PRE_STOP_ANNOTATION] = orjson.dumps(hook).decode()
    if container.get("ports"):
        found[PORTS_ANNOTATION] = orjson.dumps(container["ports"]).decode()
    return found


def _prepare_mounts(kit: Kit, making: Making, variables: Mapping[str, str]) -> list[Mount]:
    """Mounts of volumes, /etc/hosts and the termination log. Blocking."""
    container, pod_dir = making.container, kit.settings.pod_dir(uid_of(making.pod))
    mounts = [
        _volume_mount(making, item, index, variables, pod_dir)
        for index, item in enumerate(container.get("volumeMounts") or ())
    ]
    if not any(item.container_path == "/etc/hosts" for item in mounts):
        mounts.append(Mount("/etc/hosts", str(_write_hosts(kit, making, pod_dir))))
    log = pod_dir / "containers" / container["name"] / secrets.token_hex(4)
    log.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(log.parent.iterdir(), key=lambda item: item.stat().st_mtime)[:-most_termination_logs]:
        old.unlink()
    log.touch()
    log.chmod(0o666)
    mounts.append(Mount(container.get("terminationMessagePath") or default_termination_path, str(log)))
    return mounts


def _volume_mount(making: Making, item: Object, index: int, variables: Mapping[str, str], pod_dir: Path) -> Mount:
    name = item["name"]
    volume = making.volumes.get(name)
    if volume is None:
        raise ConfigProblem(f'cannot find volume "{name}" to mount into container "{making.container["name"]}"')
    path = volume.path
    subpath = item.get("subPath") or ""
    if item.get("subPathExpr"):
        subpath = expand(item["subPathExpr"], variables)
        if "$(" in subpath:
            raise ConfigProblem(f"missing value for {item['subPathExpr']}")
    if subpath:
        target = pod_dir / "volume-subpaths" / name / making.container["name"] / f"{index}-{making.restart_count}"
        _drop_earlier(target, index)
        path = bind_subpath(path, subpath, target)
    return Mount(
        container_path=item["mountPath"] if item["mountPath"].startswith("/") else f"/{item['mountPath']}",
        host_path=str(path),
        readonly=bool(item.get("readOnly")) or volume.readonly,
        propagation=_PROPAGATION.get(item.get("mountPropagation") or "", Propagation.PRIVATE),
    )


def _drop_earlier(target: Path, index: int) -> None:
    """Unmount what earlier containers of this name had bound for the same mount; they have ended."""
    if not target.parent.is_dir():
        return
    for old in target.parent.glob(f"{index}-*"):
        unmount(old)
        if old.is_dir():
            old.rmdir()
        else:
            old.unlink()


def _write_hosts(kit: Kit, making: Making, pod_dir: Path) -> Path:
    own = Path("/etc/hosts").read_text() if host_network(making.pod) else None
    path = pod_dir / "etc-hosts"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written in place: containers that run already have this very file mounted.
    path.write_text(hosts_file(making.pod, making.pod_ips, kit.settings.cluster_domain, own))
    path.chmod(0o644)
    return path
