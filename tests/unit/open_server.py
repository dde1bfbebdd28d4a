"""A real API server on a real SQLite store that lets everybody do everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.components.apiserver.audit.file import FileSettings
from minikube_py.components.apiserver.audit.options import AuditSettings, build_auditor
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

ADMIN = UserInfo("admin", (SYSTEM_MASTERS, AUTHENTICATED))


@dataclass(frozen=True)
class Everybody:
    """Authenticates everybody as one user; authorizes and admits whatever comes."""

    user: UserInfo = ADMIN

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        return self.user

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return Decision.ALLOW, ""

    async def admit(self, request: AdmissionRequest) -> None:
        return None

    async def validate(self, request: AdmissionRequest) -> None:
        return None


@asynccontextmanager
async def open_server(
    folder: Path,
    settings: ApiServerSettings | None = None,
    everybody: Everybody | None = None,
    *,
    audit_rules: str = "",
    audit_mode: str = "blocking",
) -> AsyncIterator[ApiServer]:
    """A server that listens on a port of its own, with its store in ``folder``.

    With rules of an audit policy its log is ``audit.log`` there.
    """
    clock, everybody, registry = SystemClock(), everybody or Everybody(), CollectorRegistry()
    store = await open_sqlite(folder / "state.db", clock=clock)
    audit = AuditSettings()
    if audit_rules:
        policy = folder / "policy.yaml"
        policy.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{audit_rules}\n")
        audit = AuditSettings(policy_file=str(policy), log=FileSettings(str(folder / "audit.log")), log_mode=audit_mode)
    auditor = await asyncio.to_thread(build_auditor, audit, clock, registry)
    api = ApiServer(settings or ApiServerSettings(port=0), store, clock, registry, auditor=auditor)
    api.secure(everybody, everybody, everybody, {}, explain=everybody)
    try:
        async with listening(api):
            yield api
    finally:
        api.close()
        await store.close()


@asynccontextmanager
async def listening(api: ApiServer) -> AsyncIterator[str]:
    """The server runs; gives its URL."""
    ready = asyncio.Event()
    running = asyncio.create_task(api.run(ready.set))
    try:
        await ready.wait()
        yield f"http://127.0.0.1:{api.port}"
    finally:
        running.cancel()
        await asyncio.wait({running})
