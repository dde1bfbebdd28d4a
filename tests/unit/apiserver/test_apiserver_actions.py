"""What is admitted under which name: virtual resources, bindings, evictions; and who may act as somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from minikube_py.client.clock import SystemClock
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.types import (
    AUTHENTICATED,
    SYSTEM_MASTERS,
    AdmissionRequest,
    Attributes,
    Authorizer,
    Credentials,
    Decision,
    Headers,
    Operation,
    RequestContext,
    UserInfo,
)
from minikube_py.datastore.sqlite import SqliteDatastore
from minikube_py.machinery.errors import forbidden, internal
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import PODS

TOKENS = "/api/v1/namespaces/x/serviceaccounts/sa/token"


class Guard:
    """Lets everybody in, remembers what admission saw, refuses the subresources named in ``refused``."""

    def __init__(self) -> None:
        self.seen: list[tuple[Operation, str, str, str, str]] = []
        self.refused: set[str] = set()
        self.made: list[Object] = []
        self.impersonations = 0

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        return UserInfo("admin", (SYSTEM_MASTERS, AUTHENTICATED))

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        return Decision.ALLOW, ""

    async def admit(self, request: AdmissionRequest) -> None:
        kind = (request.object or {}).get("kind", "")
        self.seen.append((request.operation, request.kind.resource.plural, request.subresource, request.name, kind))

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource in self.refused:
            raise forbidden("", request.kind.resource.plural, request.name, "no")

    async def create(self, ctx: RequestContext, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        self.made.append(body)
        return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}}

    async def impersonate(
        self, user: UserInfo, headers: Headers, authorizer: Authorizer, attributes: Attributes
    ) -> UserInfo:
        self.impersonations += 1
        raise internal("requested groups without impersonating a user")


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
async def api(store: SqliteDatastore, guard: Guard) -> AsyncIterator[ApiServer]:
    server = ApiServer(ApiServerSettings(port=0), store, SystemClock(), CollectorRegistry())
    handlers = {("", "serviceaccounts", "token"): guard}
    server.secure(guard, guard, guard, handlers, impersonate=guard.impersonate)
    yield server
    server.close()


async def test_token_requests_are_admitted(http: aiohttp.ClientSession, guard: Guard) -> None:
    async with http.post(TOKENS, json={"spec": {}}) as answer:
        assert answer.status == 201
    assert (Operation.CREATE, "serviceaccounts", "token", "sa", "TokenRequest") in guard.seen
    guard.refused.add("token")
    async with http.post(TOKENS, json={"spec": {}}) as answer:
        assert answer.status == 403
    assert len(guard.made) == 1


@pytest.mark.parametrize("subresource", ["binding", "eviction"])
async def test_actions_on_pods_are_admitted_once(
    http: aiohttp.ClientSession, api: ApiServer, guard: Guard, subresource: str
) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await api.client().create(PODS, pod, "x")
    guard.seen.clear()
    guard.refused.add(subresource)
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    if subresource == "eviction":
        body.pop("target")
    path = f"/api/v1/namespaces/x/pods/p/{subresource}"
    async with http.post(path, json=body) as answer:
        assert answer.status == 403
    guard.refused.clear()
    async with http.post(path, json=body) as answer:
        assert answer.status == 201, await answer.text()
    assert guard.seen == 2 * [(Operation.CREATE, "pods", subresource, "p", subresource.capitalize())]


MISPLACED = "the namespace of the provided object does not match the namespace sent on the request"


@pytest.mark.parametrize(
    ("path", "meta", "text"),
    [
        ("pods/p/{}", {"name": "p", "namespace": "y"}, MISPLACED),
        ("pods/absent/{}", {"name": "absent", "namespace": "y"}, MISPLACED),
        ("pods/p/{}", {}, "name in URL does not match name in {} object"),
        ("pods/p/{}", {"name": "q"}, "name in URL does not match name in {} object"),
        ("bindings", {}, "Name parameter required."),
    ],
)
@pytest.mark.parametrize("kind", ["Binding", "Eviction"])
async def test_actions_on_pods_are_where_the_request_is(
    http: aiohttp.ClientSession, path: str, meta: Object, text: str, kind: str
) -> None:
    body = {"metadata": meta, **({"target": {"kind": "Node", "name": "n"}} if kind == "Binding" else {})}
    if path == "bindings" and kind == "Eviction":
        return  # a namespace takes bindings alone
    async with http.post(f"/api/v1/namespaces/x/{path.format(kind.lower())}", json=body) as answer:
        assert (answer.status, (await answer.json())["message"]) == (400, text.format(kind))


@pytest.mark.parametrize("header", ["Impersonate-User", "impersonate-group", "Impersonate-Uid", "Impersonate-Extra-a"])
async def test_every_impersonation_header_counts(http: aiohttp.ClientSession, guard: Guard, header: str) -> None:
    async with http.get("/api/v1/namespaces/x/configmaps", headers={header: "v"}) as answer:
        assert answer.status == 500
    assert guard.impersonations == 1


async def test_unknown_methods_are_not_allowed(http: aiohttp.ClientSession, api: ApiServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"BREW /api/v1/namespaces/x/configmaps HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.split(b"\r\n")[0].endswith(b" 405 Method Not Allowed")
    assert b'"reason":"MethodNotAllowed"' in answer
