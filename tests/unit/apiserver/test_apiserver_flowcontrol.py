"""Flow control in a running server: headers, refusals, conditions, mandatory objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import Client
from minikube_py.components.apiserver.bootstrap.policy import FLOW_SCHEMAS, PRIORITY_LEVELS
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.types import (
    AUTHENTICATED,
    AdmissionRequest,
    Attributes,
    Credentials,
    Decision,
    UserInfo,
)
from minikube_py.datastore.sqlite import SqliteDatastore
from minikube_py.machinery.errors import ApiError


class Slow:
    """Everybody is who the token says; authorization waits for ``gate``."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: dict[str, asyncio.Event] = {}

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        return UserInfo(credentials.bearer_token or "somebody", (AUTHENTICATED,))

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        self.seen.setdefault(user.name, asyncio.Event()).set()
        await self.gate.wait()
        return Decision.ALLOW, ""

    async def admit(self, request: AdmissionRequest) -> None:
        return None

    async def validate(self, request: AdmissionRequest) -> None:
        return None


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def fair(store: SqliteDatastore, slow: Slow) -> AsyncIterator[tuple[ApiServer, aiohttp.ClientSession]]:
    settings = ApiServerSettings(
        port=0, priority_and_fairness=True, max_requests_inflight=40, max_mutating_requests_inflight=20
    )
    api = ApiServer(settings, store, SystemClock(), CollectorRegistry())
    api.secure(slow, slow, slow, {})
    ready = asyncio.Event()
    running = asyncio.create_task(api.run(ready.set))
    await ready.wait()
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{api.port}", connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        yield api, session
    running.cancel()
    await asyncio.wait({running})
    api.close()


async def until(client: Client, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            try:
                found = await client.get(FLOW_SCHEMAS, name)
                if holds(found):
                    return found
            except ApiError as error:
                if error.code != 404:
                    raise
            await asyncio.sleep(0.01)


def dangling(status: str) -> Callable[[dict[str, Any]], bool]:
    def holds(schema: dict[str, Any]) -> bool:
        conditions = (schema.get("status") or {}).get("conditions") or []
        return [entry["status"] for entry in conditions if entry["type"] == "Dangling"] == [status]

    return holds


async def test_conditions_say_whether_the_level_exists(fair: tuple[ApiServer, aiohttp.ClientSession]) -> None:
    client = fair[0].client()
    spec = {"priorityLevelConfiguration": {"name": "mine"}}
    await client.create(FLOW_SCHEMAS, {"metadata": {"name": "s"}, "spec": spec})
    found = await until(client, "s", dangling("True"))
    condition = found["status"]["conditions"][0]
    assert condition["reason"] == "NotFound"
    assert condition["message"].endswith('object named "mine" but there is no such object')
    assert found["metadata"]["managedFields"][0]["manager"] == "api-priority-and-fairness-config-consumer-v1"
    level = {"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}
    await client.create(PRIORITY_LEVELS, {"metadata": {"name": "mine"}, "spec": level})
    found = await until(client, "s", dangling("False"))
    assert found["status"]["conditions"][0]["message"].endswith('object named "mine" and it exists')


async def test_mandatory_objects_come_back(fair: tuple[ApiServer, aiohttp.ClientSession]) -> None:
    client = fair[0].client()
    before = await until(client, "catch-all", dangling("False"))
    await client.delete(FLOW_SCHEMAS, "catch-all")
    after = await until(client, "catch-all", dangling("False"))
    assert before["metadata"]["uid"] != after["metadata"]["uid"]


async def test_a_flood_is_refused_and_others_are_served(
    fair: tuple[ApiServer, aiohttp.ClientSession], slow: Slow
) -> None:
    api, session = fair
    client = api.client()
    limited = {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0,
               "borrowingLimitPercent": 0}  # fmt: skip
    await client.create(
        PRIORITY_LEVELS, {"metadata": {"name": "small"}, "spec": {"type": "Limited", "limited": limited}}
    )
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "flood"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
    }
    spec = {"priorityLevelConfiguration": {"name": "small"}, "matchingPrecedence": 50, "rules": [rule]}
    schema = await client.create(FLOW_SCHEMAS, {"metadata": {"name": "flood"}, "spec": spec})
    await until(client, "flood", dangling("False"))
    url = "/api/v1/namespaces/default/configmaps"
    slow.gate.clear()

    async def ask(user: str) -> tuple[int, dict[str, str]]:
        async with session.get(url, headers={"Authorization": f"Bearer {user}"}) as answer:
            await answer.read()
            return answer.status, dict(answer.headers)

    flood = [asyncio.create_task(ask("flood")) for _ in range(100)]
    async with asyncio.timeout(30):
        done, pending = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        while len(pending) > 30:
            more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        refused = [task.result() for task in done]
        assert {status for status, _ in refused} == {429}
        assert all(headers["Retry-After"] == "1" for _, headers in refused)
        other = asyncio.create_task(ask("kubelet"))
        await slow.seen.setdefault("kubelet", asyncio.Event()).wait()
        slow.gate.set()
        status, headers = await other
        assert status == 200
        assert headers["X-Kubernetes-PF-FlowSchema-UID"] != schema["metadata"]["uid"]
        await asyncio.wait(pending)
    served = [task.result() for task in pending]
    assert {status for status, _ in served} == {200}
    assert {headers["X-Kubernetes-PF-FlowSchema-UID"] for _, headers in served} == {schema["metadata"]["uid"]}
