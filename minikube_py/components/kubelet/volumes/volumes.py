"""Brings the volumes of pods to their desired state, and takes them away again.

``ensure`` is level-triggered: it sets up what is missing and updates what has changed (ConfigMaps,
Secrets, downward values, tokens). A volume that cannot be had raises VolumeProblem; others are still
brought up, so that every cause is told at once. ``remove`` unmounts everything and deletes the pod's
folder; it never touches what a hostPath or local volume points to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from minikube_py.client.types import Client
from minikube_py.components.kubelet.pods.fields import NodeFacts
from minikube_py.components.kubelet.pods.model import spec_of
from minikube_py.components.kubelet.pods.resources import pod_cgroup
from minikube_py.components.kubelet.references import References
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.components.kubelet.volumes import paths, payload
from minikube_py.components.kubelet.volumes.mounting import remove_tree
from minikube_py.components.kubelet.volumes.tokens import Tokens
from minikube_py.components.kubelet.volumes.types import Mounted, Setup, VolumeContext, VolumeProblem
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, uid_of

KINDS: Mapping[str, Setup] = {
    "configMap": payload.config_map,
    "secret": payload.secret,
    "downwardAPI": payload.downward,
    "projected": payload.projected,
    "emptyDir": paths.empty_dir,
    "hostPath": paths.host_path,
    "persistentVolumeClaim": paths.claim,
    "ephemeral": paths.ephemeral,
}


class MountFailure(Exception):
    """Volumes of a pod that could not be set up: name -> Kubernetes' message."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


class Volumes:
    """All volumes on this node; each pod's are touched by that pod's worker only."""

    def __init__(
        self, settings: KubeletSettings, client: Client, references: References, tokens: Tokens, node: NodeFacts
    ) -> None:
        self._settings = settings
        self._client = client
        self._references = references
        self._tokens = tokens
        self._node = node
        self._mounted: dict[str, dict[str, Mounted]] = {}

    def of(self, pod_uid: str) -> Mapping[str, Mounted]:
        """What is set up for the pod."""
        return self._mounted.get(pod_uid, {})

    async def ensure(self, pod: Object, *, pod_ips: tuple[str, ...], wake: Callable[[], None]) -> Mapping[str, Mounted]:
        """Set up (or update) every volume of the pod. Raises MountFailure."""
        uid = uid_of(pod)
        limit = pod_cgroup(pod, uid).memory_bytes
        used = _used_names(pod)
        done = self._mounted.setdefault(uid, {})
        problems: dict[str, str] = {}

        async def one(volume: Object) -> None:
            kind = next((key for key in volume if key in KINDS), None)
            name = volume["name"]
            try:
                if kind is None:
                    raise VolumeProblem(
                        f"no volume plugin matched ({', '.join(key for key in volume if key != 'name')})"
                    )
                context = VolumeContext(
                    pod=pod,
                    name=name,
                    source=volume[kind] or {},
                    pod_dir=self._settings.pod_dir(uid),
                    client=self._client,
                    references=self._references,
                    tokens=self._tokens,
                    node=self._node,
                    pod_ips=pod_ips,
                    wake=wake,
                    memory_limit=limit,
                )
                done[name] = await KINDS[kind](context)
            except (VolumeProblem, ApiError, OSError) as error:
                text = error.message if isinstance(error, ApiError) else str(error)
                problems[name] = f'MountVolume.SetUp failed for volume "{name}" : {text}'

        wanted = [item for item in spec_of(pod).get("volumes") or () if item["name"] in used]
        await asyncio.gather(*(one(item) for item in wanted))
        if problems:
            raise MountFailure(problems)
        return done

    def next_refresh(self, pod_uid: str) -> float | None:
        """When the pod's volumes must be looked at again (seconds since the epoch)."""
        return self._tokens.next_refresh(pod_uid)

    async def remove(self, pod_uid: str) -> None:
        """Unmount and delete everything the kubelet keeps for the pod. Raises OSError while busy."""
        await asyncio.to_thread(remove_tree, self._settings.pod_dir(pod_uid))
        self._mounted.pop(pod_uid, None)
        self._tokens.forget(pod_uid)
        self._references.release(pod_uid)

    def uids_on_disk(self) -> set[str]:
        """Uids of pods that have a folder. Blocking, but one directory read."""
        folder: Path = self._settings.root_dir / "pods"
        return {item.name for item in folder.iterdir()} if folder.is_dir() else set()


def _used_names(pod: Object) -> set[str]:
    """Volumes that a container mounts, uses as a device, or reads variables from."""
    used: set[str] = set()
    spec = spec_of(pod)
    for role in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(role) or ():
            used |= {item["name"] for item in container.get("volumeMounts") or ()}
            used |= {item["name"] for item in container.get("volumeDevices") or ()}
            for variable in container.get("env") or ():
                reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
                if reference:
                    used.add(reference.get("volumeName", ""))
    return used
