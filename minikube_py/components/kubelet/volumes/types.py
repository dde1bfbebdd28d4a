"""What the volume kinds share: their input, their result, their failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from minikube_py.client.types import Client
from minikube_py.components.kubelet.pods.fields import NodeFacts
from minikube_py.components.kubelet.references import References
from minikube_py.components.kubelet.volumes.tokens import Tokens
from minikube_py.machinery.objects import Object, namespace_of, uid_of


class VolumeProblem(Exception):
    """A volume cannot be had (yet); the text goes into a FailedMount event."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume that is ready: its folder (or file) on the host, and whether it must be mounted read-only."""

    path: Path
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class VolumeContext:
    """One volume of one pod, and what setting it up may use."""

    pod: Object
    name: str
    source: Object
    """The volume's source, such as the value of ``configMap``."""
    pod_dir: Path
    client: Client
    references: References
    tokens: Tokens
    node: NodeFacts
    pod_ips: tuple[str, ...]
    wake: Callable[[], None]
    """Wakes the pod when something it refers to changes."""
    memory_limit: int = 0
    """Upper bound of memory-backed volumes in bytes: the pod's memory limit, 0 for none."""

    def folder(self, plugin: str) -> Path:
        """``<pod_dir>/volumes/kubernetes.io~<plugin>/<name>``."""
        return self.pod_dir / "volumes" / f"kubernetes.io~{plugin}" / self.name

    @property
    def fs_group(self) -> int | None:
        context = (self.pod.get("spec") or {}).get("securityContext") or {}
        group = context.get("fsGroup")
        return None if group is None else int(group)

    async def config(self, kind: str, name: str) -> Object | None:
        """A ConfigMap or Secret of the pod's namespace, followed from now on."""
        return await self.references.config(kind, namespace_of(self.pod), name, owner=uid_of(self.pod), wake=self.wake)


Setup = Callable[[VolumeContext], Awaitable[Mounted]]
"""Brings one volume to its desired state; idempotent. Raises VolumeProblem, ApiError or OSError."""
