"""A datastore that takes no writes: what requests get, what /readyz, the metrics and the node say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import Client, PatchType
from minikube_py.components.apiserver import datastore_stall
from minikube_py.components.apiserver.datastore_stall import CONDITION, keep_node_condition
from minikube_py.datastore.sqlite import SqliteDatastore, open_sqlite
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS, LEASES, NODES


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteDatastore]:
    opened = await open_sqlite(tmp_path / "s.db", clock=SystemClock())
    yield opened
    await opened.close()


class Brake:
    def __init__(self, store: SqliteDatastore) -> None:
        self._gate = threading.Event()
        store._disk.submit(lambda connection: self._gate.wait(30), lambda result, error: None)

    def release(self) -> None:
        self._gate.set()


def config_map(name: str) -> Object:
    return {"metadata": {"name": name}, "data": {"a": "b"}}


def lease() -> Object:
    return {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1", "leaseDurationSeconds": 40}}


async def refused(write: Any) -> ApiError:
    with pytest.raises(ApiError) as failure:
        await write
    return failure.value


async def stalled(client: Client, store: SqliteDatastore) -> Brake:
    brake, patience = Brake(store), store._writer._stall_seconds
    store._writer._stall_seconds = 0.05
    error = await refused(client.create(CONFIG_MAPS, config_map("hangs"), "default"))
    store._writer._stall_seconds = patience  # from here on a slow machine makes no stalls
    assert (error.code, error.reason) == (504, "Timeout")
    assert error.message.startswith("etcdserver: request timed out")
    return brake


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(5000):
        if await probe():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never became true")


async def test_reads_watches_and_leases_go_on_and_writes_fail_clearly(client: Client, store: SqliteDatastore) -> None:
    await client.create(CONFIG_MAPS, config_map("old"), "default")
    held = await client.create(LEASES, lease(), "kube-node-lease")
    informer = client.informer(CONFIG_MAPS)
    await informer.synced()
    brake = await stalled(client, store)
    error = await refused(client.create(CONFIG_MAPS, config_map("new"), "default"))
    assert (error.code, error.reason) == (503, "ServiceUnavailable") and "reads go on" in error.message
    error = await refused(client.delete(CONFIG_MAPS, "old", "default"))
    assert error.code == 503
    assert (await client.get(CONFIG_MAPS, "old", "default"))["data"] == {"a": "b"}
    assert [o["metadata"]["name"] for o in informer.list("default")] == ["old"]
    for number in range(3):
        draft = {**held, "spec": {**held["spec"], "leaseTransitions": number}}
        held = await client.update(LEASES, draft, "kube-node-lease")
    assert held["spec"]["leaseTransitions"] == 2
    brake.release()

    async def appeared() -> bool:
        return {o["metadata"]["name"] for o in informer.list("default")} == {"hangs", "old"}

    await until(appeared)
    found = await client.get(CONFIG_MAPS, "hangs", "default")
    assert int(found["metadata"]["resourceVersion"]) > int(held["metadata"]["resourceVersion"])
    await until(lambda: _writable(client))


async def _writable(client: Client) -> bool:
    try:
        await client.create(CONFIG_MAPS, config_map("after"), "default")
    except ApiError:
        return False
    return True


async def test_readyz_and_metrics_say_so(client: Client, store: SqliteDatastore, http: aiohttp.ClientSession) -> None:
    async def page(path: str) -> tuple[int, str]:
        async with http.get(path) as response:
            return response.status, await response.text()

    async def metric(name: str) -> float:
        _, text = await page("/metrics")
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    assert await page("/readyz") == (200, "ok")
    brake = await stalled(client, store)
    status, text = await page("/readyz")
    assert status == 500 and "[-]etcd-readiness failed: reason withheld" in text
    status, text = await page("/readyz/etcd-readiness")
    assert status == 500 and "the disk has not finished a write" in text
    assert (await page("/livez"))[0] == (await page("/healthz"))[0] == 200  # nobody shall restart the server
    assert (await page("/livez/etcd-readiness"))[0] == 404
    assert '"status":"False"' in (await page("/api/v1/componentstatuses/etcd-0"))[1]
    assert await metric("pyk3s_datastore_stalled") == await metric("pyk3s_datastore_stalls_total") == 1
    brake.release()

    async def ready() -> bool:
        return (await page("/readyz"))[0] == 200

    await until(ready)
    assert await metric("pyk3s_datastore_stalled") == 0
    assert await metric("pyk3s_datastore_stalled_seconds_total") > 0


async def test_the_node_says_so_while_it_lasts(
    client: Client, store: SqliteDatastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datastore_stall, "settle_seconds", 0.001)
    monkeypatch.setattr(datastore_stall, "first_retry_seconds", 0.001)
    await client.create(LEASES, lease(), "kube-node-lease")  # a node that lives: the volatile class is in use
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": None, "lastTransitionTime": None}
    node = {"metadata": {"name": "n1"}, "status": {"conditions": [ready]}}
    await client.create(NODES, node)
    keeping = asyncio.create_task(keep_node_condition(client, "n1", store, SystemClock(), lambda: None))

    async def status() -> str:
        found = find_condition((await client.get(NODES, "n1"))["status"]["conditions"], CONDITION)
        return str(found["status"]) if found else ""

    async def is_true() -> bool:
        return await status() == "True"

    async def is_false() -> bool:
        return await status() == "False"

    try:
        brake = await stalled(client, store)
        await until(is_true)
        shown = await client.get(NODES, "n1")
        assert store.stall  # it is written while it lasts, not afterwards
        assert find_condition(shown["status"]["conditions"], "Ready") == ready
        # Only what a node says of itself goes through: everything else waits for the disk.
        patch = {"metadata": {"labels": {"a": "b"}}}
        error = await refused(client.patch(NODES, "n1", patch, patch_type=PatchType.STRATEGIC))
        assert error.code == 503
        brake.release()
        await until(is_false)
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


async def test_without_a_stall_the_node_has_no_such_condition(client: Client, store: SqliteDatastore) -> None:
    await client.create(NODES, {"metadata": {"name": "n1"}})
    before = store.current_revision
    begun = asyncio.Event()
    keeping = asyncio.create_task(keep_node_condition(client, "n1", store, SystemClock(), begun.set))
    await begun.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert store.current_revision == before
    keeping.cancel()
    await asyncio.wait({keeping})
