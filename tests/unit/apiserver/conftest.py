"""A real API server on a real SQLite store, with an authenticator and authorizer that let everything in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from open_server import Everybody, listening
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import Client
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.datastore.sqlite import SqliteDatastore, open_sqlite


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteDatastore]:
    opened = await open_sqlite(tmp_path / "state.db", clock=SystemClock())
    yield opened
    await opened.close()


@pytest.fixture
async def api(store: SqliteDatastore) -> AsyncIterator[ApiServer]:
    server = ApiServer(ApiServerSettings(port=0), store, SystemClock(), CollectorRegistry())
    everybody = Everybody()
    server.secure(everybody, everybody, everybody, {})
    yield server
    server.close()


@pytest.fixture
def client(api: ApiServer) -> Client:
    return api.client()


@pytest.fixture
async def http(api: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base URL is the running server."""
    async with listening(api) as url, aiohttp.ClientSession(url, headers={"User-Agent": "test/1"}) as session:
        yield session
