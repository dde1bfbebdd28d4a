"""What every ``Runtime`` promises: cases that run against the fake (unit) and containerd (e2e).

A test module gives a ``bench`` fixture and imports the cases: ``from runtime_suite import *``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from minikube_py.components.kubelet.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    EventKind,
    NamespaceMode,
    NamespaceOptions,
    PodIdentity,
    Resources,
    Runtime,
    RuntimeEvent,
    RuntimeFailure,
    SandboxConfig,
)

_numbers = itertools.count(1)
settle_seconds = 0.1


@dataclass(slots=True)
class Bench:
    """A runtime, and images that sleep for ever or end at once with code 3."""

    runtime: Runtime
    folder: Path
    sleeping: str
    ending: str
    sleep_command: tuple[str, ...] = ()
    end_command: tuple[str, ...] = ()
    missing: str = "localhost/absent:1"
    sandboxes: list[str] = field(default_factory=list)

    def pod(self, uid: str = "", **changes: object) -> SandboxConfig:
        uid = uid or f"uid-{next(_numbers)}"
        labels = {"io.kubernetes.pod.uid": uid, "io.kubernetes.pod.name": "web"}
        identity = PodIdentity("web", "default", uid)
        config = SandboxConfig(identity, "web", str(self.folder / "logs" / uid), labels=labels)
        return replace(config, **changes)  # type: ignore[arg-type]

    def container(self, pod: SandboxConfig, name: str = "main", *, ends: bool = False) -> ContainerConfig:
        return ContainerConfig(
            name=name,
            attempt=0,
            image=self.ending if ends else self.sleeping,
            command=self.end_command if ends else self.sleep_command,
            env=(("COLOUR", "blue"),),
            labels={**pod.labels, "io.kubernetes.container.name": name},
            annotations={"note": "kept"},
            log_path=f"{name}.log",
            resources=Resources(cpu_shares=102, memory_limit_bytes=64 << 20),
        )

    async def sandbox(self, pod: SandboxConfig) -> str:
        sandbox_id = await self.runtime.run_sandbox(pod)
        self.sandboxes.append(sandbox_id)
        return sandbox_id

    async def started(self, pod: SandboxConfig, *, ends: bool = False) -> tuple[str, str]:
        sandbox_id = await self.sandbox(pod)
        container_id = await self.runtime.create_container(sandbox_id, self.container(pod, ends=ends), pod)
        await self.runtime.start_container(container_id)
        return sandbox_id, container_id

    async def cleanup(self) -> None:
        for sandbox_id in self.sandboxes:
            await self._remove(sandbox_id)

    async def _remove(self, sandbox_id: str) -> None:
        """Again after a failure, as a kubelet does it: containerd 1.6 fails when a container ends just then."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.runtime.stop_sandbox(sandbox_id)
                    await self.runtime.remove_sandbox(sandbox_id)
                    return
                except RuntimeFailure as failure:
                    print(f"once more: {failure}")  # pytest shows it when a test fails
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def recorded(runtime: Runtime) -> AsyncIterator[list[RuntimeEvent]]:
    """Record events for the length of the block."""
    events: list[RuntimeEvent] = []

    async def record() -> None:
        async for event in runtime.events():
            events.append(event)  # noqa: PERF401 - they are looked at meanwhile

    task = asyncio.create_task(record())
    await asyncio.sleep(settle_seconds)  # nothing tells when a subscription stands
    try:
        yield events
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - conditions of two kinds of runtime
            await asyncio.sleep(0.005)


async def test_a_sandbox_is_ready_until_it_is_stopped_and_there_until_it_is_removed(bench: Bench) -> None:
    pod = bench.pod()
    sandbox_id = await bench.sandbox(pod)
    status = await bench.runtime.sandbox_status(sandbox_id)
    assert status.sandbox.ready and len(status.ips) == 1
    assert status.sandbox.identity == pod.identity and status.sandbox.labels == pod.labels
    listed = await bench.runtime.list_sandboxes(pod_uid=pod.identity.uid)
    assert [item.id for item in listed] == [sandbox_id]
    await bench.runtime.stop_sandbox(sandbox_id)
    assert not (await bench.runtime.sandbox_status(sandbox_id)).sandbox.ready
    await bench.runtime.remove_sandbox(sandbox_id)
    assert not await bench.runtime.list_sandboxes(pod_uid=pod.identity.uid)
    with pytest.raises(RuntimeFailure) as caught:
        await bench.runtime.sandbox_status(sandbox_id)
    assert caught.value.not_found


async def test_a_sandbox_on_the_hosts_network_has_no_address_of_its_own(bench: Bench) -> None:
    pod = bench.pod(namespaces=NamespaceOptions(network=NamespaceMode.NODE))
    status = await bench.runtime.sandbox_status(await bench.sandbox(pod))
    assert status.network is NamespaceMode.NODE and status.ips == ()


async def test_a_second_sandbox_for_the_same_attempt_is_refused(bench: Bench) -> None:
    pod = bench.pod()
    await bench.sandbox(pod)
    with pytest.raises(RuntimeFailure, match="reserved"):
        await bench.runtime.run_sandbox(pod)
    await bench.sandbox(replace(pod, identity=replace(pod.identity, attempt=1)))


async def test_a_container_goes_from_created_over_running_to_exited(bench: Bench) -> None:
    pod = bench.pod()
    sandbox_id = await bench.sandbox(pod)
    config = bench.container(pod)
    container_id = await bench.runtime.create_container(sandbox_id, config, pod)
    created = await bench.runtime.container_status(container_id)
    assert created.container.state is ContainerState.CREATED and created.started_at == 0
    await bench.runtime.start_container(container_id)
    running = await bench.runtime.container_status(container_id)
    assert running.container.state is ContainerState.RUNNING and running.started_at > 0 == running.finished_at
    assert running.container.annotations == config.annotations and running.container.labels == config.labels
    assert running.log_path == f"{pod.log_directory}/main.log"
    await bench.runtime.stop_container(container_id, grace_seconds=0)
    ended = await bench.runtime.container_status(container_id)
    assert ended.container.state is ContainerState.EXITED and ended.exit_code == 137 and ended.finished_at > 0
    await bench.runtime.remove_container(container_id)
    with pytest.raises(RuntimeFailure) as caught:
        await bench.runtime.container_status(container_id)
    assert caught.value.not_found


async def test_listing_tells_containers_apart_by_pod_and_by_sandbox(bench: Bench) -> None:
    one, other = bench.pod(), bench.pod()
    (one_sandbox, one_id), (_, other_id) = await bench.started(one), await bench.started(other)

    def ids(found: object) -> list[str]:
        assert isinstance(found, list)
        return [item.id for item in found if isinstance(item, Container)]

    assert ids(await bench.runtime.list_containers(pod_uid=one.identity.uid)) == [one_id]
    assert ids(await bench.runtime.list_containers(sandbox_id=one_sandbox)) == [one_id]
    assert {one_id, other_id} <= set(ids(await bench.runtime.list_containers()))


async def test_events_tell_a_containers_life_in_order_and_never_before_it_can_be_seen(bench: Bench) -> None:
    pod = bench.pod()
    async with recorded(bench.runtime) as events:
        sandbox_id, container_id = await bench.started(pod, ends=True)

        def kinds(id: str) -> list[EventKind]:
            return [event.kind for event in events if event.container_id == id]

        await until(lambda: EventKind.STOPPED in kinds(container_id))
        status = await bench.runtime.container_status(container_id)
        assert status.container.state is ContainerState.EXITED and status.exit_code == 3
        assert status.reason == "Error"
        await bench.runtime.stop_sandbox(sandbox_id)
        await bench.runtime.remove_sandbox(sandbox_id)
        await until(lambda: EventKind.DELETED in kinds(container_id) and EventKind.DELETED in kinds(sandbox_id))
    life = [EventKind.CREATED, EventKind.STARTED, EventKind.STOPPED, EventKind.DELETED]
    assert kinds(container_id) == life and kinds(sandbox_id) == life
    assert {event.pod_uid for event in events if event.container_id == container_id} == {pod.identity.uid}
    assert all(event.timestamp > 0 for event in events)


async def test_stopping_a_sandbox_ends_its_containers_and_removing_it_removes_them(bench: Bench) -> None:
    pod = bench.pod()
    sandbox_id, container_id = await bench.started(pod)
    await bench.runtime.stop_sandbox(sandbox_id)
    status = await bench.runtime.container_status(container_id)
    assert status.container.state is ContainerState.EXITED
    await bench.runtime.remove_sandbox(sandbox_id)
    assert not await bench.runtime.list_containers(pod_uid=pod.identity.uid)


async def test_a_container_starts_once(bench: Bench) -> None:
    _, container_id = await bench.started(bench.pod())
    with pytest.raises(RuntimeFailure):
        await bench.runtime.start_container(container_id)


async def test_a_second_container_for_the_same_attempt_is_refused(bench: Bench) -> None:
    pod = bench.pod()
    sandbox_id, _ = await bench.started(pod)
    with pytest.raises(RuntimeFailure, match="reserved"):
        await bench.runtime.create_container(sandbox_id, bench.container(pod), pod)


async def test_a_container_needs_its_image(bench: Bench) -> None:
    pod = bench.pod()
    sandbox_id = await bench.sandbox(pod)
    config = replace(bench.container(pod), image=bench.missing)
    with pytest.raises(RuntimeFailure, match="not found"):
        await bench.runtime.create_container(sandbox_id, config, pod)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(lambda runtime: runtime.stop_container("gone", grace_seconds=1), id="stop_container"),
        pytest.param(lambda runtime: runtime.remove_container("gone"), id="remove_container"),
        pytest.param(lambda runtime: runtime.stop_sandbox("gone"), id="stop_sandbox"),
        pytest.param(lambda runtime: runtime.remove_sandbox("gone"), id="remove_sandbox"),
        pytest.param(lambda runtime: runtime.remove_image("localhost/gone:1"), id="remove_image"),
    ],
)
async def test_ending_what_is_gone_succeeds(bench: Bench, action: Callable[[Runtime], Awaitable[None]]) -> None:
    await action(bench.runtime)


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(lambda runtime: runtime.container_status("gone"), id="container_status"),
        pytest.param(lambda runtime: runtime.start_container("gone"), id="start_container"),
        pytest.param(lambda runtime: runtime.exec_sync("gone", ["true"], timeout_seconds=1), id="exec_sync"),
        pytest.param(lambda runtime: runtime.update_resources("gone", Resources()), id="update_resources"),
    ],
)
async def test_asking_for_what_is_gone_says_not_found(
    bench: Bench, question: Callable[[Runtime], Awaitable[object]]
) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        await question(bench.runtime)
    assert caught.value.not_found


async def test_exec_needs_a_running_container(bench: Bench) -> None:
    pod = bench.pod()
    sandbox_id = await bench.sandbox(pod)
    container_id = await bench.runtime.create_container(sandbox_id, bench.container(pod), pod)
    with pytest.raises(RuntimeFailure):
        await bench.runtime.exec_sync(container_id, ["echo"], timeout_seconds=1)
    await bench.runtime.start_container(container_id)
    assert (await bench.runtime.exec_sync(container_id, ["true"], timeout_seconds=5)).exit_code == 0
    url = await bench.runtime.exec_url(container_id, ["sh"], stdin=True, stdout=True, stderr=True, tty=False)
    assert url.startswith("http://")


async def test_images_are_found_by_name_and_by_id(bench: Bench) -> None:
    assert await bench.runtime.image_status(bench.missing) is None
    image = await bench.runtime.image_status(bench.sleeping)
    assert image is not None and bench.sleeping in image.repo_tags and image.size_bytes > 0
    assert await bench.runtime.image_status(image.id) == image
    assert image in list(await bench.runtime.list_images())


async def test_pulling_what_no_registry_has_fails(bench: Bench) -> None:
    with pytest.raises(RuntimeFailure):
        await bench.runtime.pull_image("127.0.0.1:1/absent:1")


async def test_the_runtime_tells_who_it_is_and_whether_it_is_ready(bench: Bench) -> None:
    version, status = await bench.runtime.version(), await bench.runtime.status()
    assert version.name and version.api_version == "v1"
    assert status.runtime_ready and status.network_ready
    assert (await bench.runtime.image_filesystem())[0].mountpoint


async def test_statistics_name_the_running_containers(bench: Bench) -> None:
    pod = bench.pod()
    _, container_id = await bench.started(pod)
    found = {item.container_id: item for item in await bench.runtime.container_stats()}
    assert found[container_id].name == "main"
    assert found[container_id].sandbox_labels["io.kubernetes.pod.uid"] == pod.identity.uid
