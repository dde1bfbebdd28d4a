"""Each client in turn: in memory, in the API server's process, and over HTTP to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.client.http import HttpClient
from minikube_py.client.testing import FakeClient, FakeClock
from minikube_py.client.types import Client
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.types import (
    AUTHENTICATED,
    SYSTEM_MASTERS,
    AdmissionRequest,
    Attributes,
    Credentials,
    Decision,
    UserInfo,
)
from minikube_py.datastore.sqlite import open_sqlite


class Everybody:
    """Authenticates, authorizes and admits whatever comes."""

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        return UserInfo("admin", (SYSTEM_MASTERS, AUTHENTICATED))

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return Decision.ALLOW, ""

    async def admit(self, request: AdmissionRequest) -> None:
        return None

    async def validate(self, request: AdmissionRequest) -> None:
        return None


@pytest.fixture(params=["fake", "local", "http"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    if request.param == "fake":
        yield FakeClient(FakeClock())
        return
    clock, everybody = SystemClock(), Everybody()
    store = await open_sqlite(tmp_path / "state.db", clock=clock)
    api = ApiServer(ApiServerSettings(port=0), store, clock, CollectorRegistry())
    api.secure(everybody, everybody, everybody, {})
    ready = asyncio.Event()
    serving = asyncio.create_task(api.run(ready.set))
    await ready.wait()
    async with HttpClient(f"http://127.0.0.1:{api.port}") as over_http:
        yield over_http if request.param == "http" else api.client()
    serving.cancel()
    await asyncio.wait({serving})
    api.close()
    await store.close()
