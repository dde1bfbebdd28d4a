"""Each client in turn: in memory, in the API server's process (audited or not), and over HTTP to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from open_server import open_server

from minikube_py.client.http import HttpClient
from minikube_py.client.testing import FakeClient, FakeClock
from minikube_py.client.types import Client


@pytest.fixture(params=["fake", "local", "audited", "http"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    if request.param == "fake":
        yield FakeClient(FakeClock())
        return
    rules = "- level: RequestResponse" if request.param == "audited" else ""
    async with open_server(tmp_path, audit_rules=rules) as api, HttpClient(f"http://127.0.0.1:{api.port}") as over_http:
        yield over_http if request.param == "http" else api.client()
