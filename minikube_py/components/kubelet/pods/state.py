"""What the runtime knows of one pod, read in one go: sandboxes and containers, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from minikube_py.components.kubelet.pods.model import (
    CONTAINER_NAME_LABEL,
    HASH_ANNOTATION,
    RESTART_COUNT_ANNOTATION,
    Role,
    containers,
    is_sidecar,
)
from minikube_py.components.kubelet.runtime.types import (
    Container,
    ContainerState,
    ContainerStatus,
    NamespaceMode,
    Runtime,
    RuntimeFailure,
    SandboxStatus,
)
from minikube_py.machinery.objects import Object


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod as the runtime has it; both tuples are sorted by creation, newest first."""

    uid: str
    sandboxes: tuple[SandboxStatus, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()

    @property
    def ready_sandbox(self) -> SandboxStatus | None:
        """The newest sandbox if it is ready."""
        if self.sandboxes and self.sandboxes[0].sandbox.ready:
            return self.sandboxes[0]
        return None

    @property
    def ips(self) -> tuple[str, ...]:
        sandbox = self.ready_sandbox
        return sandbox.ips if sandbox else ()

    def newest(self, name: str) -> ContainerStatus | None:
        """The last container that was made for this name, running or not."""
        return next((item for item in self.containers if container_name(item) == name), None)

    def newest_ended(self, name: str) -> ContainerStatus | None:
        """The last container of this name that has ended; a newer one may be running."""
        ended = (item for item in self.all_of(name) if item.container.state is ContainerState.EXITED)
        return next(ended, None)

    def all_of(self, name: str) -> Sequence[ContainerStatus]:
        return [item for item in self.containers if container_name(item) == name]

    @property
    def alive(self) -> Sequence[ContainerStatus]:
        """Containers that run, or may run. One that was made but never started needs no ending."""
        alive = (ContainerState.RUNNING, ContainerState.UNKNOWN)
        return [item for item in self.containers if item.container.state in alive]

    def knows_running(self, id: str) -> bool:
        """Whether this picture already shows the container or sandbox as running."""
        return any(
            item.container.id == id and item.container.state is ContainerState.RUNNING for item in self.containers
        ) or any(item.sandbox.id == id and item.sandbox.ready for item in self.sandboxes)

    def knows_ended(self, id: str) -> bool:
        """Whether this picture already shows the container or sandbox as ended."""
        return any(
            item.container.id == id and item.container.state is ContainerState.EXITED for item in self.containers
        ) or any(item.sandbox.id == id and not item.sandbox.ready for item in self.sandboxes)


def container_name(status: ContainerStatus) -> str:
    return status.container.labels.get(CONTAINER_NAME_LABEL) or status.container.name


def init_seconds(pod: Object, state: PodState) -> float:
    """How long the init containers ran that have ended; sidecars run beside the others and do not count."""
    names = {item["name"] for item in containers(pod, Role.INIT) if not is_sidecar(Role.INIT, item)}
    ended = (item for item in state.containers if container_name(item) in names and item.finished_at)
    return sum(item.finished_at - item.started_at for item in ended) / 1e9


def restart_count(status: ContainerStatus) -> int:
    text = status.container.annotations.get(RESTART_COUNT_ANNOTATION, "")
    return int(text) if text.isdigit() else status.container.attempt


def hash_of(status: ContainerStatus) -> str:
    return status.container.annotations.get(HASH_ANNOTATION, "")


async def read_pod_state(runtime: Runtime, uid: str) -> PodState:
    """Ask the runtime for everything that belongs to the pod. Raises RuntimeFailure.

    A sandbox or container that goes away between the list and its status is left out.
    """
    sandboxes, listed = await asyncio.gather(runtime.list_sandboxes(pod_uid=uid), runtime.list_containers(pod_uid=uid))
    ordered = sorted(sandboxes, key=lambda item: item.created_at, reverse=True)
    # Only the newest sandbox can have addresses that matter; older ones are listed as they are.
    newest = await asyncio.gather(*(_sandbox(runtime, item.id) for item in ordered[:1]))
    older = [SandboxStatus(item, (), NamespaceMode.POD) for item in ordered[1:]]
    statuses = await asyncio.gather(*(_container(runtime, item) for item in listed))
    found = [item for item in statuses if item is not None]
    found.sort(key=lambda item: (item.container.created_at, restart_count(item)), reverse=True)
    return PodState(uid, tuple([item for item in newest if item is not None] + older), tuple(found))


async def _sandbox(runtime: Runtime, id: str) -> SandboxStatus | None:
    try:
        return await runtime.sandbox_status(id)
    except RuntimeFailure as failure:
        if failure.not_found:
            return None
        raise


async def _container(runtime: Runtime, listed: Container) -> ContainerStatus | None:
    try:
        status = await runtime.container_status(listed.id)
    except RuntimeFailure as failure:
        if failure.not_found:
            return None
        raise
    # CRI's status does not say which sandbox a container belongs to; only the list does.
    return replace(status, container=replace(status.container, sandbox_id=listed.sandbox_id))
