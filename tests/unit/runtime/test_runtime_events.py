"""Events of runtimes that implement CRI's event stream, and of those that have none at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.kubelet.runtime import messages
from minikube_py.components.kubelet.runtime.cri import CriRuntime
from minikube_py.components.kubelet.runtime.types import EventKind, RuntimeEvent, RuntimeFailure


class Handlers(grpc.GenericRpcHandler):
    """A CRI runtime that streams two events, or (``has_events`` false) implements nothing."""

    def __init__(self, *, has_events: bool) -> None:
        self.has_events = has_events

    def service(self, details: Any) -> Any:
        if self.has_events and details.method == "/runtime.v1.RuntimeService/GetContainerEvents":
            return grpc.unary_stream_rpc_method_handler(self.events)
        return None

    async def events(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        sandbox = {"id": "s", "metadata": {"name": "web", "uid": "uid-1"}}
        for kind, time in ((1, 10), (2, 20)):
            event = {"container_id": "c", "container_event_type": kind, "created_at": time}
            yield messages.cri().encode("ContainerEventResponse", event | {"pod_sandbox_status": sandbox})


@pytest_asyncio.fixture(params=[True, False], ids=["with events", "without"])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CriRuntime]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(has_events=request.param),))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    runtime = CriRuntime(f"unix://{tmp_path}/s", FakeClock())
    yield runtime
    await runtime.close()
    await server.stop(None)


@pytest.mark.parametrize("runtime", [True], indirect=True)
async def test_cris_own_events_are_handed_on_and_their_end_is_a_failure(runtime: CriRuntime) -> None:
    seen: list[RuntimeEvent] = []
    with pytest.raises(RuntimeFailure, match="ended its event stream"):
        async for event in runtime.events():
            seen.append(event)  # noqa: PERF401 - the iteration fails at its end
    assert seen == [
        RuntimeEvent(EventKind.STARTED, "c", "uid-1", 10),
        RuntimeEvent(EventKind.STOPPED, "c", "uid-1", 20),
    ]


@pytest.mark.parametrize("runtime", [False], indirect=True)
async def test_a_runtime_without_events_gives_none(runtime: CriRuntime) -> None:
    assert [event async for event in runtime.events()] == []


async def test_a_runtime_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    runtime = CriRuntime(str(tmp_path / "absent"), FakeClock())
    with pytest.raises(RuntimeFailure) as caught:
        await runtime.version()
    assert caught.value.code == "UNAVAILABLE" and str(tmp_path / "absent") in str(caught.value)
    with pytest.raises(RuntimeFailure):
        _ = [event async for event in runtime.events()]
