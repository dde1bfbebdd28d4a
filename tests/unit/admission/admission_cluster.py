"""A real API server in the process with its whole admission chain, and a webhook server with TLS on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.webhooks.hooks import MUTATING, VALIDATING
from minikube_py.components.apiserver.security import SecuritySettings, build_security
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.types import UserInfo
from minikube_py.datastore.sqlite import open_sqlite
from minikube_py.machinery.resources import NAMESPACES, SERVICE_ACCOUNTS
from minikube_py.pki import Pki, ensure_pki

USER = UserInfo("alice", ("system:masters", "system:authenticated"), "u-1", {"team": ("a", "b")})
Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class Cluster:
    """An API server and a webhook server; ``reviews`` are the questions that the webhooks were asked."""

    def __init__(self, api: ApiServer, pki: Pki, background: list[Callable[[], Awaitable[None]]]) -> None:
        self.api = api
        self.pki = pki
        self.user = USER
        self.client: Client = api.client(USER, user_agent="test/1")
        self.handlers: dict[str, Handler] = {}
        self.reviews: list[dict[str, Any]] = []
        self.port = 0
        self.background = background

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.reviews.append(body)
        return await self.handlers[request.path](request, body)

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    @property
    def ca_bundle(self) -> str:
        return base64.b64encode(self.pki.server_ca.certificate.read_bytes()).decode()

    def webhook(self, name: str = "a.example.com", path: str = "/hook", **more: Any) -> dict[str, Any]:
        rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
        return {
            "name": name,
            "rules": [rule],
            "clientConfig": {"url": self.url(path), "caBundle": self.ca_bundle},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            **more,
        }

    async def register(self, *webhooks: dict[str, Any], mutating: bool = False, name: str = "hooks") -> None:
        resource = MUTATING if mutating else VALIDATING
        body = {"metadata": {"name": name}, "webhooks": list(webhooks)}
        await self.client.create(resource, body)

    def always(self, path: str = "/hook", **response: Any) -> None:
        """Answer every review with this response."""

        async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            return reviewed(body, **response)

        self.handlers[path] = handler


def reviewed(body: dict[str, Any], **response: Any) -> web.Response:
    """The answer to a review."""
    full = {"uid": body["request"]["uid"], "allowed": True, **response}
    return web.json_response({"apiVersion": body["apiVersion"], "kind": "AdmissionReview", "response": full})


def patch_of(*operations: dict[str, Any]) -> dict[str, str]:
    """The response fields of a JSON patch."""
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    clock = SystemClock()
    store = await open_sqlite(tmp_path / "state.db", clock=clock)
    pki = await asyncio.to_thread(
        ensure_pki, tmp_path / "pki", node_name="n", node_ips=["127.0.0.1"], sans=["hook.ns.svc"],
        service_ip="10.43.0.1", clock=clock,
    )  # fmt: skip
    api = ApiServer(ApiServerSettings(port=0), store, clock, CollectorRegistry())
    bundle = await asyncio.to_thread(
        build_security, api.client(), pki, SecuritySettings(), clock, kinds=api.kinds, metrics=api.metrics
    )
    api.secure(bundle.authenticator, bundle.authorizer, bundle.admission, bundle.virtual_handlers)
    api.pending_charges = bundle.pending_charges
    made = Cluster(api, pki, list(bundle.background))
    running = [asyncio.ensure_future(job()) for job in made.background]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.serving_kube_apiserver.certificate, pki.serving_kube_apiserver.key)
    context.load_verify_locations(pki.client_ca.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    application = web.Application(client_max_size=1 << 24)
    application.router.add_post("/{path:.*}", made.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = runner.addresses[0][1]
    client = api.client()
    for name in ("ns", "other"):
        await client.create(NAMESPACES, {"metadata": {"name": name, "labels": {"kind": name}}})
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, name)
    yield made
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await runner.cleanup()
    api.close()
    await store.close()
