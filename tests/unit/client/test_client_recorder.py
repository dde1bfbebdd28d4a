"""Events are counted, combined and rationed; elections have one winner."""

from __future__ import annotations

import asyncio

from minikube_py.client.leader_election import Election, ElectionSettings
from minikube_py.client.recorder import Recorder
from minikube_py.client.testing import FakeClient, FakeClock
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import EVENTS, LEASES

POD: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "u"}}


async def recorded(*messages: str) -> list[Object]:
    clock = FakeClock()
    client = FakeClient(clock)
    recorder = Recorder(client, "test", clock=clock)
    writer = asyncio.ensure_future(recorder.run())
    for message in messages:
        recorder.event(POD, "Normal", "Tested", message)
    await recorder.flush()
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    return client.all(EVENTS, "ns")


async def test_equal_events_are_counted() -> None:
    events = await recorded("same", "same", "same")
    assert [(event["message"], event["count"]) for event in events] == [("same", 3)]
    assert events[0]["involvedObject"] == {
        "apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "ns", "uid": "u"
    }  # fmt: skip


async def test_similar_events_are_combined() -> None:
    events = await recorded(*(f"message {number}" for number in range(15)))
    combined = [event for event in events if event["message"].startswith("(combined from similar events): ")]
    assert len(events) == 10
    assert [event["count"] for event in combined] == [6]


async def test_an_object_has_a_burst_of_25_events() -> None:
    events = await recorded(*("same" for _ in range(40)))
    assert [event["count"] for event in events] == [25]


async def test_one_leads_and_another_takes_over() -> None:
    clock = FakeClock()
    client = FakeClient(clock)
    leaders: list[str] = []

    async def participate(identity: str) -> None:
        async def lead() -> None:
            leaders.append(identity)
            await asyncio.Event().wait()

        await Election(client, clock, ElectionSettings("test", identity)).run(lead)

    first = asyncio.ensure_future(participate("one"))
    await clock.settle()
    second = asyncio.ensure_future(participate("two"))
    await clock.advance(60)
    assert leaders == ["one"]
    first.cancel()
    await clock.advance(20)
    assert leaders == ["one", "two"]
    assert client.one(LEASES, "test", "kube-system")["spec"]["holderIdentity"] == "two"
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
