"""``FakeRuntime``: the ``Runtime`` protocol in memory, with the promises of a real one.

States, errors and events are those that containerd gives (one suite runs against both); only the
processes are missing. What a container does is scripted per image: ``FakeImage.exits`` ends it by
itself, ``ignores_term`` makes it need the whole grace. ``calls`` records every changing call.
Tests end containers with ``exit_container``, kill sandboxes with ``crash_sandbox``, and make the
next call of a method fail with ``fail_next``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from minikube_py.components.kubelet.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    EventKind,
    ExecResult,
    FilesystemUsage,
    Image,
    NamespaceMode,
    RegistryCredentials,
    Resources,
    RuntimeConditions,
    RuntimeEvent,
    RuntimeFailure,
    RuntimeVersion,
    Sandbox,
    SandboxConfig,
    SandboxStatus,
)
from minikube_py.machinery.clock import Clock

_pod_uid_label = "io.kubernetes.pod.uid"
_nanoseconds = 1_000_000_000
killed_exit_code = 137
terminated_exit_code = 143


@dataclass(frozen=True, slots=True)
class FakeImage:
    """An image and how its containers behave."""

    name: str
    exits: int | None = None
    """Exit code of a container that ends at once; None runs until stopped."""
    ignores_term: bool = False
    pullable: bool = True
    present: bool = True
    uid: int | None = None
    username: str = ""


@dataclass(slots=True)
class _FakeSandbox:
    sandbox: Sandbox
    network: NamespaceMode
    ip: str
    pid: int


@dataclass(slots=True)
class _FakeContainer:
    status: ContainerStatus
    image: FakeImage
    config: ContainerConfig
    ended: asyncio.Event = field(default_factory=asyncio.Event)


ExecHandler = Callable[[str, Sequence[str]], ExecResult]


class FakeRuntime:
    """See the module text. ``exec_handler`` answers ``exec_sync`` as (container id, command)."""

    def __init__(self, clock: Clock, images: Sequence[FakeImage] = ()) -> None:
        self.clock = clock
        self.calls: list[tuple[str, str]] = []
        self.exec_handler: ExecHandler = lambda container_id, command: ExecResult(b"", b"", 0)
        self.network_ready = True
        self.pod_cidr = ""
        self._images = {image.name: image for image in images}
        self._present = {image.name for image in images if image.present}
        self._sandboxes: dict[str, _FakeSandbox] = {}
        self._containers: dict[str, _FakeContainer] = {}
        self._listeners: list[asyncio.Queue[RuntimeEvent]] = []
        self._failures: dict[str, deque[RuntimeFailure]] = {}
        self._numbers = itertools.count(1)

    def add_image(self, image: FakeImage) -> None:
        self._images[image.name] = image
        if image.present:
            self._present.add(image.name)

    def fail_next(self, method: str, code: str = "UNKNOWN", message: str = "injected failure") -> None:
        """Make the next call of a method fail, such as ``fail_next("run_sandbox")``."""
        self._failures.setdefault(method, deque()).append(RuntimeFailure(method, code, message))

    def exit_container(self, container_id: str, exit_code: int = 0, *, reason: str = "") -> None:
        """The container's process ends by itself."""
        self._end(self._container("exit_container", container_id), exit_code, reason)

    def crash_sandbox(self, sandbox_id: str) -> None:
        """The sandbox's process dies; its containers end with it."""
        self._halt(self._sandbox("crash_sandbox", sandbox_id))

    async def version(self) -> RuntimeVersion:
        return RuntimeVersion("fake", "1.0", "v1")

    async def status(self) -> RuntimeConditions:
        self._begin("status", "")
        return RuntimeConditions(True, self.network_ready, "" if self.network_ready else "cni config uninitialized")

    async def run_sandbox(self, config: SandboxConfig) -> str:
        self._begin("run_sandbox", config.identity.name)
        for other in self._sandboxes.values():
            if other.sandbox.identity == config.identity:
                raise RuntimeFailure("RunPodSandbox", "UNKNOWN", f"name is reserved for {other.sandbox.id!r}")
        number = next(self._numbers)
        sandbox = Sandbox(
            id=f"{number:064x}",
            identity=config.identity,
            ready=True,
            created_at=self._now(),
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=config.runtime_handler,
        )
        own_network = config.namespaces.network is not NamespaceMode.NODE
        ip = f"10.42.{number >> 8 & 255}.{number & 255}" if own_network else ""
        self._sandboxes[sandbox.id] = _FakeSandbox(sandbox, config.namespaces.network, ip, 1000 + number)
        self._emit(EventKind.CREATED, sandbox.id, sandbox)
        self._emit(EventKind.STARTED, sandbox.id, sandbox)
        return sandbox.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self._begin("stop_sandbox", sandbox_id)
        found = self._sandboxes.get(sandbox_id)
        if found is not None:
            self._halt(found)
            found.ip = ""

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        self._begin("remove_sandbox", sandbox_id)
        for container_id in [item.id for item in await self.list_containers(sandbox_id=sandbox_id)]:
            await self.remove_container(container_id)
        found = self._sandboxes.pop(sandbox_id, None)
        if found is not None:
            self._emit(EventKind.DELETED, sandbox_id, found.sandbox)

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        found = self._sandbox("PodSandboxStatus", sandbox_id)
        return SandboxStatus(found.sandbox, (found.ip,) if found.ip else (), found.network, found.pid)

    async def list_sandboxes(self, *, pod_uid: str = "") -> Sequence[Sandbox]:
        self._begin("list_sandboxes", "", record=False)
        found = [item.sandbox for item in self._sandboxes.values()]
        return [item for item in found if not pod_uid or item.labels.get(_pod_uid_label) == pod_uid]

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        self._begin("create_container", config.name)
        if not self._sandbox("CreateContainer", sandbox_id).sandbox.ready:
            raise RuntimeFailure("CreateContainer", "UNKNOWN", f"sandbox {sandbox_id!r} is not running")
        image = self._image(config.image)
        if image is None:
            raise RuntimeFailure("CreateContainer", "NOT_FOUND", f"image {config.image!r}: not found")
        for other in self._containers.values():
            known = other.status.container
            if (known.sandbox_id, known.name, known.attempt) == (sandbox_id, config.name, config.attempt):
                raise RuntimeFailure("CreateContainer", "UNKNOWN", f"name is reserved for {known.id!r}")
        container = Container(
            id=f"{next(self._numbers):064x}",
            sandbox_id=sandbox_id,
            name=config.name,
            attempt=config.attempt,
            image=config.image,
            image_ref=_image_id(image.name),
            state=ContainerState.CREATED,
            created_at=self._now(),
            labels=config.labels,
            annotations=config.annotations,
        )
        log_path = f"{sandbox.log_directory}/{config.log_path}" if config.log_path else ""
        status = ContainerStatus(container, log_path=log_path, mounts=config.mounts, resources=config.resources)
        self._containers[container.id] = _FakeContainer(status, image, config)
        self._emit(EventKind.CREATED, container.id, container)
        return container.id

    async def start_container(self, container_id: str) -> None:
        found = self._container("StartContainer", container_id)
        self._begin("start_container", found.config.name)
        container = found.status.container
        if container.state is not ContainerState.CREATED:
            raise RuntimeFailure("StartContainer", "UNKNOWN", f"container is in {container.state.name} state")
        running = replace(container, state=ContainerState.RUNNING)
        found.status = replace(found.status, container=running, started_at=self._now())
        self._emit(EventKind.STARTED, container_id, running)
        if found.image.exits is not None:
            self._end(found, found.image.exits, "")

    async def stop_container(self, container_id: str, *, grace_seconds: int) -> None:
        found = self._containers.get(container_id)
        if found is None:
            return
        self._begin("stop_container", found.config.name)
        if found.status.container.state is not ContainerState.RUNNING:
            return
        if found.image.ignores_term and grace_seconds > 0:
            await self._wait_end(found, grace_seconds)
        forced = found.image.ignores_term or grace_seconds == 0
        self._end(found, killed_exit_code if forced else terminated_exit_code, "")

    async def remove_container(self, container_id: str) -> None:
        found = self._containers.get(container_id)
        if found is None:
            return
        self._begin("remove_container", found.config.name)
        self._end(found, killed_exit_code, "")
        self._containers.pop(container_id, None)
        self._emit(EventKind.DELETED, container_id, found.status.container)

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._container("ContainerStatus", container_id).status

    async def list_containers(self, *, pod_uid: str = "", sandbox_id: str = "") -> Sequence[Container]:
        self._begin("list_containers", "", record=False)
        return [
            item
            for item in (found.status.container for found in self._containers.values())
            if (not pod_uid or item.labels.get(_pod_uid_label) == pod_uid)
            and (not sandbox_id or item.sandbox_id == sandbox_id)
        ]

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        found = self._container("UpdateContainerResources", container_id)
        self._begin("update_resources", found.config.name)
        found.status = replace(found.status, resources=resources)

    async def reopen_log(self, container_id: str) -> None:
        self._running("ReopenContainerLog", container_id)
        self._begin("reopen_log", container_id)

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        self._running("ExecSync", container_id)
        self._begin("exec_sync", container_id, record=False)
        return self.exec_handler(container_id, command)

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        self._running("Exec", container_id)
        return f"http://127.0.0.1:0/exec/{container_id}"

    async def attach_url(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> str:
        self._running("Attach", container_id)
        return f"http://127.0.0.1:0/attach/{container_id}"

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        self._sandbox("PortForward", sandbox_id)
        return f"http://127.0.0.1:0/portforward/{sandbox_id}"

    async def image_status(self, image: str) -> Image | None:
        self._begin("image_status", image, record=False)
        found = self._image(image)
        return None if found is None else _image_record(found)

    async def list_images(self) -> Sequence[Image]:
        return [_image_record(self._images[name]) for name in sorted(self._present)]

    async def pull_image(
        self, image: str, *, credentials: RegistryCredentials | None = None, sandbox: SandboxConfig | None = None
    ) -> str:
        self._begin("pull_image", image)
        found = self._images.get(image)
        if found is None or not found.pullable:
            message = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": not found'
            raise RuntimeFailure("PullImage", "NOT_FOUND", message)
        self._present.add(image)
        return _image_id(image)

    async def remove_image(self, image: str) -> None:
        self._begin("remove_image", image)
        found = self._image(image)
        if found is not None:
            self._present.discard(found.name)

    async def image_filesystem(self) -> Sequence[FilesystemUsage]:
        return [FilesystemUsage("/var/lib/fake", self._now(), 4096 * len(self._present), len(self._present))]

    async def container_stats(self) -> Sequence[ContainerStats]:
        return [
            ContainerStats(item.id, item.name, item.labels, self._now(), 0, 0)
            for item in (found.status.container for found in self._containers.values())
            if item.state is ContainerState.RUNNING
        ]

    async def update_pod_cidr(self, cidr: str) -> None:
        self._begin("update_pod_cidr", cidr)
        self.pod_cidr = cidr

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        queue: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    def _begin(self, method: str, what: str, *, record: bool = True) -> None:
        """Record a call, and fail it when a test asked for that."""
        if record:
            self.calls.append((method, what))
        waiting = self._failures.get(method)
        if waiting:
            raise waiting.popleft()

    def _now(self) -> int:
        return int(self.clock.now() * _nanoseconds)

    def _sandbox(self, method: str, sandbox_id: str) -> _FakeSandbox:
        found = self._sandboxes.get(sandbox_id)
        if found is None:
            raise RuntimeFailure(method, "NOT_FOUND", f'an error occurred when try to find sandbox: "{sandbox_id}"')
        return found

    def _container(self, method: str, container_id: str) -> _FakeContainer:
        found = self._containers.get(container_id)
        if found is None:
            message = f'an error occurred when try to find container "{container_id}": not found'
            raise RuntimeFailure(method, "NOT_FOUND", message)
        return found

    def _running(self, method: str, container_id: str) -> _FakeContainer:
        found = self._container(method, container_id)
        if found.status.container.state is not ContainerState.RUNNING:
            raise RuntimeFailure(method, "UNKNOWN", "container is not running")
        return found

    def _image(self, reference: str) -> FakeImage | None:
        """A present image, by name or id."""
        for name in self._present:
            if reference in (name, _image_id(name)):
                return self._images[name]
        return None

    async def _wait_end(self, found: _FakeContainer, seconds: float) -> None:
        """Wait until the container ends, at most so long by the clock."""
        timer = asyncio.ensure_future(self.clock.sleep(seconds))
        ended = asyncio.ensure_future(found.ended.wait())
        try:
            await asyncio.wait({timer, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            ended.cancel()
            await asyncio.gather(timer, ended, return_exceptions=True)

    def _end(self, found: _FakeContainer, exit_code: int, reason: str) -> None:
        """A running container ends; nothing happens to any other."""
        container = found.status.container
        if container.state is not ContainerState.RUNNING:
            return
        ended = replace(container, state=ContainerState.EXITED)
        why = reason or ("Completed" if exit_code == 0 else "Error")
        found.status = replace(found.status, container=ended, finished_at=self._now(), exit_code=exit_code, reason=why)
        found.ended.set()
        self._emit(EventKind.STOPPED, container.id, container)

    def _halt(self, found: _FakeSandbox) -> None:
        for item in self._containers.values():
            if item.status.container.sandbox_id == found.sandbox.id:
                self._end(item, killed_exit_code, "")
        if found.sandbox.ready:
            found.sandbox = replace(found.sandbox, ready=False)
            self._emit(EventKind.STOPPED, found.sandbox.id, found.sandbox)

    def _emit(self, kind: EventKind, id: str, of: Container | Sandbox) -> None:
        event = RuntimeEvent(kind, id, of.labels.get(_pod_uid_label, ""), self._now())
        for listener in self._listeners:
            listener.put_nowait(event)


def _image_id(name: str) -> str:
    return f"sha256:{name.encode().hex():0>64}"


def _image_record(image: FakeImage) -> Image:
    return Image(_image_id(image.name), (image.name,), size_bytes=4096, uid=image.uid, username=image.username)
