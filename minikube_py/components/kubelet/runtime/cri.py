"""``CriRuntime``: the ``Runtime`` protocol over CRI v1 on a Unix socket (containerd, CRI-O, ...).

Every call has a deadline of its own kind: short for questions, two minutes for work on sandboxes
and containers (the kubelet's runtime request timeout), none beyond the grace for stopping, fifteen
minutes without an answer for pulls. Stopping or removing what is gone succeeds.

Creations are not retried here: the caller looks at the state and decides.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from minikube_py.components.kubelet.runtime import cri_records as records
from minikube_py.components.kubelet.runtime import cri_requests as requests
from minikube_py.components.kubelet.runtime import messages
from minikube_py.components.kubelet.runtime.events import runtime_events
from minikube_py.components.kubelet.runtime.images.pause import PAUSE_IMAGE
from minikube_py.components.kubelet.runtime.rpc.channel import Channel, RpcError
from minikube_py.components.kubelet.runtime.rpc.protobuf import DecodeError, Message
from minikube_py.components.kubelet.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    ExecResult,
    FilesystemUsage,
    Image,
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

question_timeout_seconds = 10.0
work_timeout_seconds = 120.0
pull_timeout_seconds = 900.0
_beyond_grace_seconds = 60.0
_pod_uid_label = "io.kubernetes.pod.uid"


class CriRuntime:
    """A CRI runtime at ``endpoint`` (a path or ``unix://`` URL). Close it when done."""

    def __init__(self, endpoint: str, clock: Clock) -> None:
        self._channel = Channel(endpoint)
        self._clock = clock
        self._table = messages.cri()

    async def close(self) -> None:
        await self._channel.close()

    async def version(self) -> RuntimeVersion:
        answer = await self._ask("Version", {"version": "v1"})
        return RuntimeVersion(
            answer.get("runtime_name", ""), answer.get("runtime_version", ""), answer.get("runtime_api_version", "")
        )

    async def status(self) -> RuntimeConditions:
        return records.conditions(await self._ask("Status", {}))

    async def run_sandbox(self, config: SandboxConfig) -> str:
        request = {"config": requests.sandbox_config(config), "runtime_handler": config.runtime_handler}
        answer = await self._ask("RunPodSandbox", request, timeout_seconds=work_timeout_seconds * 2)
        return str(answer["pod_sandbox_id"])

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._end("StopPodSandbox", {"pod_sandbox_id": sandbox_id})

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._end("RemovePodSandbox", {"pod_sandbox_id": sandbox_id})

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        answer = await self._ask("PodSandboxStatus", {"pod_sandbox_id": sandbox_id})
        return records.sandbox_status(answer["status"])

    async def list_sandboxes(self, *, pod_uid: str = "") -> Sequence[Sandbox]:
        answer = await self._ask("ListPodSandbox", {"filter": _filter(pod_uid)})
        return [records.sandbox(item) for item in answer.get("items", ())]

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        request = {
            "pod_sandbox_id": sandbox_id,
            "config": requests.container_config(config),
            "sandbox_config": requests.sandbox_config(sandbox),
        }
        answer = await self._ask("CreateContainer", request, timeout_seconds=work_timeout_seconds)
        return str(answer["container_id"])

    async def start_container(self, container_id: str) -> None:
        await self._ask("StartContainer", {"container_id": container_id}, timeout_seconds=work_timeout_seconds)

    async def stop_container(self, container_id: str, *, grace_seconds: int) -> None:
        request = {"container_id": container_id, "timeout": grace_seconds}
        await self._end("StopContainer", request, timeout_seconds=grace_seconds + _beyond_grace_seconds)

    async def remove_container(self, container_id: str) -> None:
        await self._end("RemoveContainer", {"container_id": container_id})

    async def container_status(self, container_id: str) -> ContainerStatus:
        answer = await self._ask("ContainerStatus", {"container_id": container_id})
        return records.container_status(answer["status"], "")

    async def list_containers(self, *, pod_uid: str = "", sandbox_id: str = "") -> Sequence[Container]:
        selected = _filter(pod_uid) | {"pod_sandbox_id": sandbox_id}
        answer = await self._ask("ListContainers", {"filter": selected})
        return [records.container(item) for item in answer.get("containers", ())]

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        request = {"container_id": container_id, "linux": requests.resources(resources)}
        await self._ask("UpdateContainerResources", request, timeout_seconds=work_timeout_seconds)

    async def reopen_log(self, container_id: str) -> None:
        await self._ask("ReopenContainerLog", {"container_id": container_id})

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        whole_seconds = math.ceil(timeout_seconds)  # CRI counts whole seconds; zero would mean no limit
        request = {"container_id": container_id, "cmd": command, "timeout": whole_seconds}
        answer = await self._ask("ExecSync", request, timeout_seconds=whole_seconds + question_timeout_seconds)
        return ExecResult(answer.get("stdout", b""), answer.get("stderr", b""), answer.get("exit_code", 0))

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        request = {"container_id": container_id, "cmd": command, **_streams(stdin, stdout, stderr, tty)}
        return str((await self._ask("Exec", request))["url"])

    async def attach_url(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> str:
        request = {"container_id": container_id, **_streams(stdin, stdout, stderr, tty)}
        return str((await self._ask("Attach", request))["url"])

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        return str((await self._ask("PortForward", {"pod_sandbox_id": sandbox_id, "port": ports}))["url"])

    async def image_status(self, image: str) -> Image | None:
        answer = await self._ask("ImageStatus", {"image": {"image": image}})
        found = answer.get("image")
        return None if found is None else _image(found)

    async def list_images(self) -> Sequence[Image]:
        answer = await self._ask("ListImages", {})
        return [_image(item) for item in answer.get("images", ())]

    async def pull_image(
        self, image: str, *, credentials: RegistryCredentials | None = None, sandbox: SandboxConfig | None = None
    ) -> str:
        request = {
            "image": {"image": image},
            "auth": None if credentials is None else requests.credentials(credentials),
            "sandbox_config": None if sandbox is None else requests.sandbox_config(sandbox),
        }
        answer = await self._ask("PullImage", request, timeout_seconds=pull_timeout_seconds)
        return str(answer.get("image_ref", ""))

    async def remove_image(self, image: str) -> None:
        await self._end("RemoveImage", {"image": {"image": image}})

    async def image_filesystem(self) -> Sequence[FilesystemUsage]:
        answer = await self._ask("ImageFsInfo", {})
        return [records.filesystem_usage(item) for item in answer.get("image_filesystems", ())]

    async def container_stats(self) -> Sequence[ContainerStats]:
        answer = await self._ask("ListContainerStats", {})
        return [records.container_stats(item) for item in answer.get("stats", ())]

    async def update_pod_cidr(self, cidr: str) -> None:
        await self._ask("UpdateRuntimeConfig", {"runtime_config": {"network_config": {"pod_cidr": cidr}}})

    def events(self) -> AsyncIterator[RuntimeEvent]:
        return runtime_events(self._channel, self._has_settled, self._clock)

    async def _has_settled(self, container_id: str) -> bool:
        """Whether CRI shows the end of a container or sandbox that containerd has reported as ended."""
        try:
            return (await self.container_status(container_id)).container.state is ContainerState.EXITED
        except RuntimeFailure as error:
            if not error.not_found:
                raise
        try:
            return not (await self.sandbox_status(container_id)).sandbox.ready
        except RuntimeFailure as error:
            if not error.not_found:
                raise
            return True

    async def _ask(
        self, method: str, request: Mapping[str, Any], *, timeout_seconds: float = question_timeout_seconds
    ) -> Message:
        service = "ImageService" if method in _IMAGE_METHODS else "RuntimeService"
        # A response without fields is not in the table: its bytes carry nothing.
        known_request, known_answer = f"{method}Request", f"{method}Response"
        payload = self._table.encode(known_request, request) if request else b""
        try:
            answer = await self._channel.unary(
                f"/runtime.v1.{service}/{method}", payload, timeout_seconds=timeout_seconds
            )
            return self._table.decode(known_answer, answer) if answer else {}
        except RpcError as error:
            raise RuntimeFailure(method, error.code, error.message) from error
        except DecodeError as error:
            raise RuntimeFailure(method, "INTERNAL", str(error)) from error

    async def _end(
        self, method: str, request: Mapping[str, Any], *, timeout_seconds: float = work_timeout_seconds
    ) -> None:
        """A stop or removal: succeeds when the thing is gone."""
        try:
            await self._ask(method, request, timeout_seconds=timeout_seconds)
        except RuntimeFailure as error:
            if not error.not_found:
                raise


_IMAGE_METHODS = frozenset({"ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"})


def _image(message: Message) -> Image:
    """containerd tells since 1.7 that images are pinned; the sandbox image is so in any version."""
    image = records.image(message)
    return replace(image, pinned=True) if PAUSE_IMAGE in image.repo_tags else image


def _filter(pod_uid: str) -> Message:
    return {"label_selector": {_pod_uid_label: pod_uid}} if pod_uid else {}


def _streams(stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Message:
    return {"stdin": stdin, "stdout": stdout, "stderr": stderr and not tty, "tty": tty}
