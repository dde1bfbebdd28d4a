"""The fake keeps a runtime's promises, and gives tests their handles."""

import asyncio
from pathlib import Path

import pytest
from runtime_suite import *  # noqa: F403 - the shared cases
from runtime_suite import Bench

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.kubelet.runtime.fake import FakeImage, FakeRuntime
from minikube_py.components.kubelet.runtime.types import ContainerState, RuntimeFailure


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    images = [FakeImage("localhost/sleep:1"), FakeImage("localhost/end:1", exits=3)]
    return Bench(FakeRuntime(FakeClock(), images), tmp_path, "localhost/sleep:1", "localhost/end:1")


async def test_a_container_that_ignores_term_is_killed_after_its_grace(tmp_path: Path) -> None:
    clock = FakeClock()
    runtime = FakeRuntime(clock, [FakeImage("stubborn", ignores_term=True)])
    bench = Bench(runtime, tmp_path, "stubborn", "stubborn")
    _, container_id = await bench.started(bench.pod())
    before = clock.monotonic()
    stop = asyncio.create_task(runtime.stop_container(container_id, grace_seconds=30))
    await clock.advance(29)
    assert not stop.done()
    await clock.advance(2)
    await stop
    status = await runtime.container_status(container_id)
    assert status.exit_code == 137 and status.container.state is ContainerState.EXITED
    assert clock.monotonic() - before >= 30


async def test_injected_failures_happen_once(tmp_path: Path) -> None:
    runtime = FakeRuntime(FakeClock(), [FakeImage("a")])
    bench = Bench(runtime, tmp_path, "a", "a")
    runtime.fail_next("run_sandbox", "UNAVAILABLE", "no network")
    with pytest.raises(RuntimeFailure, match="no network"):
        await runtime.run_sandbox(bench.pod())
    await runtime.run_sandbox(bench.pod())
    assert [method for method, _ in runtime.calls] == ["run_sandbox", "run_sandbox"]
