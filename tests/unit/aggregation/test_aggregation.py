"""An aggregated server with TLS on the loopback, behind a Service, seen through a real API server."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from open_server import Everybody, open_server

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import Client
from minikube_py.components.apiserver.aggregation.availability import aggregated_rows
from minikube_py.components.apiserver.aggregation.connections import ProxyIdentity
from minikube_py.components.apiserver.aggregation.identity import identity_headers
from minikube_py.components.apiserver.aggregation.local import wanted_services
from minikube_py.components.apiserver.aggregation.published import NAME, NAMESPACE, publish_authentication
from minikube_py.components.apiserver.aggregation.reading import AggregatedReader
from minikube_py.components.apiserver.aggregation.remote import read_remote
from minikube_py.components.apiserver.settings import ApiServerSettings
from minikube_py.components.apiserver.types import (
    UserInfo,
)
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import name_of
from minikube_py.machinery.resources import API_SERVICES, CONFIG_MAPS, NAMESPACES, SERVICES
from minikube_py.pki import Pki, ensure_pki

ALICE = UserInfo("alice", ("dev", "system:authenticated"), "u-1", {"example.com/team": ("a", "b")})
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "metrics.example.com/v1",
    "resources": [
        {"name": "nodes", "singularName": "node", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
        {"name": "nodes/scale", "singularName": "", "namespaced": False, "kind": "Scale", "verbs": ["get"],
         "group": "autoscaling", "version": "v1"},
    ],
}  # fmt: skip


class World:
    """The API server's client and session, and what the aggregated server was asked."""

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.client: Client
        self.session: aiohttp.ClientSession
        self.reader: AggregatedReader
        self.port = 0
        self.asked: list[web.BaseRequest] = []
        self.peers: list[Any] = []
        self.status = 200

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        self.peers.append(tls.getpeercert() if tls else None)
        path = request.path
        if path == "/apis/metrics.example.com/v1":
            return web.json_response(RESOURCES, status=self.status)
        if path == "/openapi/v3":
            return web.json_response(
                {
                    "paths": {
                        "apis/metrics.example.com/v1": {
                            "serverRelativeURL": "/openapi/v3/apis/metrics.example.com/v1?hash=AB"
                        }
                    }
                }
            )
        if path == "/openapi/v2":
            schema = {"type": "object", "description": "theirs"}
            parameter = {"in": "query", "name": "pretty", "type": "string"}
            taken = {"$ref": "#/parameters/pretty-tJGM1-ng"}
            answers = {"200": {"description": "", "schema": {"$ref": "#/definitions/io.k8s.api.core.v1.Pod"}}}
            return web.json_response({
                "definitions": {"x.NodeMetrics": schema, "io.k8s.api.core.v1.Pod": schema},
                "parameters": {"pretty-tJGM1-ng": parameter, "own-AAAAAAAA": parameter},
                "paths": {
                    "/apis/metrics.example.com/v1/nodes": {"get": {"responses": answers, "parameters": [taken]}},
                    "/version": {"get": {}},
                },
            })  # fmt: skip
        if request.headers.get("Upgrade"):
            return await self.echo(request)
        if path.endswith("/watched"):
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"type":"ADDED"}\n')
            await asyncio.sleep(60)
        if path.endswith("/long"):
            return await self.long_answer(request)
        if path.endswith("/refused"):
            body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no", "details": {"name": "x"}}
            return web.json_response(body, status=403)
        if path.endswith("/moved"):
            raise web.HTTPFound("https://elsewhere.example.com/")
        body = await request.read()
        seen = {name: request.headers.getall(name) for name in request.headers}
        return web.json_response(
            {"path": request.raw_path, "headers": seen, "body": body.decode(), "method": request.method}
        )

    async def long_answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """An object that comes in many pieces."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"items":["')
        for _ in range(40):
            await response.write(b"x" * 50_000)
            await asyncio.sleep(0)
        await response.write(b'"]}')
        return response

    async def echo(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["echo"])
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.headers['X-Remote-User']}: {message.data}")
        return socket

    def service(self, **spec: Any) -> dict[str, Any]:
        bundle = base64.b64encode(self.pki.server_ca.certificate.read_bytes()).decode()
        return {
            "metadata": {"name": "v1.metrics.example.com"},
            "spec": {
                "group": "metrics.example.com",
                "version": "v1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": bundle,
                "service": {"namespace": "kube-system", "name": "metrics", "port": self.port},
                **spec,
            },
        }

    async def register(self, **spec: Any) -> None:
        await self.client.create(SERVICES, {
            "metadata": {"name": "metrics"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port}]},
        }, "kube-system")  # fmt: skip
        await self.client.create(API_SERVICES, self.service(**spec))

    async def until(self, reason: str) -> dict[str, Any]:
        """The condition Available, once it has this reason."""
        async with asyncio.timeout(30):
            while True:
                found = await self.client.get(API_SERVICES, "v1.metrics.example.com")
                for condition in (found.get("status") or {}).get("conditions") or ():
                    if condition["reason"] == reason:
                        return dict(condition)
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = SystemClock()
    pki = await asyncio.to_thread(
        ensure_pki, tmp_path / "pki", node_name="n", node_ips=["127.0.0.1"], sans=["metrics.kube-system.svc"],
        service_ip="10.43.0.1", clock=clock,
    )  # fmt: skip
    made = World(pki)
    identity = ProxyIdentity(pki.client_auth_proxy.certificate, pki.client_auth_proxy.key)
    settings = ApiServerSettings(port=0, aggregation=True, proxy_identity=identity)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.serving_kube_apiserver.certificate, pki.serving_kube_apiserver.key)
    context.load_verify_locations(pki.request_header_ca.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = web.Server(made.answer, handler_cancellation=True)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    async with open_server(tmp_path, settings, Everybody(ALICE)) as api:
        made.client, made.reader = api.client(), api.aggregated_reader(ALICE)
        await made.client.create(NAMESPACES, {"metadata": {"name": "kube-system"}})
        async with aiohttp.ClientSession(f"http://127.0.0.1:{api.port}") as made.session:
            yield made
    listening.close()
    await server.shutdown(0.1)


async def test_requests_go_through_with_the_identity_of_their_sender(world: World) -> None:
    await world.register()
    condition = await world.until("Passed")
    assert (condition["status"], condition["message"]) == ("True", "all checks passed")
    forged = {"X-Remote-User": "system:admin", "X-Remote-Group": "system:masters", "Authorization": "Bearer secret",
              "X-Remote-Extra-Scopes": "all", "Impersonate-User": "", "X-Mine": "kept"}  # fmt: skip
    del forged["Impersonate-User"]
    url = "/apis/metrics.example.com/v1/nodes?labelSelector=a%3Db"
    async with world.session.post(url, data=b"hello", headers=forged) as answer:
        assert answer.status == 200
        seen = await answer.json()
    assert (seen["path"], seen["body"], seen["method"]) == (url, "hello", "POST")
    headers = {name.lower(): values for name, values in seen["headers"].items()}
    assert headers["content-length"] == ["5"] and "transfer-encoding" not in headers
    assert headers["x-remote-user"] == ["alice"]
    assert headers["x-remote-group"] == ["dev", "system:authenticated"]
    assert headers["x-remote-uid"] == ["u-1"]
    assert headers["x-remote-extra-example.com%2fteam"] == ["a", "b"]
    assert "x-remote-extra-scopes" not in headers
    assert "authorization" not in headers
    assert headers["x-mine"] == ["kept"]
    subject = dict(part[0] for part in world.peers[-1]["subject"])
    assert subject["commonName"] == "system:auth-proxy"


async def test_components_read_aggregated_servers(world: World) -> None:
    base = "/apis/metrics.example.com/v1"
    assert not world.reader.serves("metrics.example.com", "v1")
    with pytest.raises(ApiError) as failure:
        await world.reader.read(f"{base}/nodes", {})
    assert (failure.value.code, failure.value.details) == (404, None)
    await world.register()
    await world.until("Passed")
    assert world.reader.serves("metrics.example.com", "v1")
    found = await world.reader.read(f"{base}/nodes", {"labelSelector": "a=b,c=d"})
    assert found["path"] == f"{base}/nodes?labelSelector=a%3Db,c%3Dd"
    assert found["headers"]["X-Remote-User"] == ["alice"]
    assert len((await world.reader.read(f"{base}/long", {}))["items"][0]) == 2_000_000
    with pytest.raises(ApiError, match="no") as failure:
        await world.reader.read(f"{base}/refused", {})
    assert (failure.value.code, failure.value.details) == (403, {"name": "x"})


async def test_discovery_shows_what_the_server_serves(world: World) -> None:
    await world.register()
    await world.until("Passed")
    async with world.session.get("/apis") as answer:
        groups = [group["name"] for group in (await answer.json())["groups"]]
    assert groups[-1] == "metrics.example.com"
    async with world.session.get("/apis/metrics.example.com") as answer:
        assert (await answer.json())["preferredVersion"]["groupVersion"] == "metrics.example.com/v1"
    async with world.session.get("/apis/metrics.example.com/v1") as answer:
        assert await answer.json() == RESOURCES
    aggregated = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    async with world.session.get("/apis", headers=aggregated) as answer:
        [item] = [i for i in (await answer.json())["items"] if i["metadata"]["name"] == "metrics.example.com"]
    [version] = item["versions"]
    assert version["freshness"] == "Current"
    assert version["resources"][0]["subresources"][0]["responseKind"]["group"] == "autoscaling"
    world.status = 503
    await world.client.patch(API_SERVICES, "v1.metrics.example.com", {"spec": {"versionPriority": 101}})
    condition = await world.until("FailedDiscoveryCheck")
    url = f"https://metrics.kube-system.svc:{world.port}/apis/metrics.example.com/v1"
    assert condition["message"] == f"failing or missing response from {url}: bad status from {url}: 503"
    async with world.session.get("/apis", headers=aggregated) as answer:
        [item] = [i for i in (await answer.json())["items"] if i["metadata"]["name"] == "metrics.example.com"]
    assert item["versions"][0]["freshness"] == "Stale"
    async with world.session.get("/apis/metrics.example.com/v1/nodes") as answer:
        assert (answer.status, await answer.text()) == (503, "service unavailable\n")
    await world.client.delete(API_SERVICES, "v1.metrics.example.com")
    async with world.session.get("/apis/metrics.example.com/v1/nodes") as answer:
        assert answer.status == 404


async def test_openapi_documents_are_merged(world: World) -> None:
    await world.register()
    await world.until("Passed")
    async with world.session.get("/openapi/v3") as answer:
        paths = (await answer.json(content_type=None))["paths"]
    assert paths["apis/metrics.example.com/v1"]["serverRelativeURL"].endswith("?hash=AB")
    assert "api/v1" in paths
    async with world.session.get("/openapi/v3/apis/metrics.example.com/v1?hash=AB") as answer:
        assert (await answer.json())["path"] == "/openapi/v3/apis/metrics.example.com/v1?hash=AB"
    async with world.session.get("/openapi/v2") as answer:
        document = await answer.json()
    assert document["definitions"]["x.NodeMetrics"]["description"] == "theirs"
    get = document["paths"]["/apis/metrics.example.com/v1/nodes"]["get"]
    assert get["parameters"] == [{"$ref": "#/parameters/pretty-tJGM1-ng_v2"}]
    assert get["responses"]["200"]["schema"] == {"$ref": "#/definitions/io.k8s.api.core.v1.Pod_v2"}
    assert document["parameters"]["pretty-tJGM1-ng_v2"]["name"] == "pretty"
    assert "own-AAAAAAAA" in document["parameters"]
    assert document["definitions"]["io.k8s.api.core.v1.Pod"] != document["definitions"]["io.k8s.api.core.v1.Pod_v2"]
    form = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    async with world.session.get("/openapi/v2", headers={"Accept": form}) as answer:
        assert b"/apis/metrics.example.com/v1/nodes" in await answer.read()


async def test_upgrades_and_streams_are_passed_through(world: World) -> None:
    await world.register()
    await world.until("Passed")
    url = "/apis/metrics.example.com/v1/nodes/n/proxy"
    async with world.session.ws_connect(url, protocols=["echo"]) as socket:
        await socket.send_str("hello")
        assert (await socket.receive()).data == "alice: hello"
    async with world.session.get("/apis/metrics.example.com/v1/watched?watch=1") as answer:
        async with asyncio.timeout(30):
            assert await answer.content.readline() == b'{"type":"ADDED"}\n'


@pytest.mark.parametrize(
    ("spec", "reason", "text"),
    [
        ({"service": {"namespace": "kube-system", "name": "absent", "port": 1}}, "ServiceNotFound",
         'service/absent in "kube-system" is not present'),
        ({"caBundle": base64.b64encode(b"nonsense").decode()}, "FailedDiscoveryCheck", ""),
        ({"caBundle": None, "insecureSkipTLSVerify": True}, "Passed", "all checks passed"),
        ({"caBundle": None}, "FailedDiscoveryCheck", "certificate"),
    ],
)  # fmt: skip
async def test_conditions(world: World, spec: dict[str, Any], reason: str, text: str) -> None:
    await world.register(**spec)
    assert text in (await world.until(reason))["message"]


async def test_services_without_endpoints(world: World) -> None:
    spec: dict[str, Any] = {"ports": [{"name": "https", "port": 443}], "clusterIP": "None"}
    await world.client.create(SERVICES, {"metadata": {"name": "metrics"}, "spec": spec}, "kube-system")
    service = {"namespace": "kube-system", "name": "metrics", "port": 444}
    await world.client.create(API_SERVICES, world.service(service=service))
    condition = await world.until("ServicePortError")
    assert condition["message"] == 'service/metrics in "kube-system" is not listening on port 444'
    await world.client.patch(API_SERVICES, "v1.metrics.example.com", {"spec": {"service": {"port": 443}}})
    condition = await world.until("EndpointsNotFound")
    assert condition["message"] == 'cannot find endpointslices for service/metrics in "kube-system"'


async def test_local_services_are_kept(world: World) -> None:
    async with asyncio.timeout(30):
        while True:
            found = {name_of(obj): obj for obj in (await world.client.list(API_SERVICES)).items}
            if "v1.apps" in found and (found["v1.apps"].get("status") or {}).get("conditions"):
                break
            await asyncio.sleep(0.01)
    assert found["v1."]["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}
    [condition] = found["v1.apps"]["status"]["conditions"]
    assert (condition["reason"], condition["status"]) == ("Local", "True")
    await world.client.delete(API_SERVICES, "v1.apps")
    async with asyncio.timeout(30), world.client.watch(API_SERVICES, resource_version="0") as events:
        async for event in events:
            if (
                name_of(event.object) == "v1.apps"
                and event.object["metadata"]["uid"] != found["v1.apps"]["metadata"]["uid"]
            ):
                break


async def test_authorities_are_published(world: World) -> None:
    for certificate in ("one", "two"):
        await publish_authentication(
            world.client, client_ca=certificate, request_header_ca="h", allowed_names=["system:auth-proxy"]
        )
    found = await world.client.get(CONFIG_MAPS, NAME, NAMESPACE)
    assert found["data"]["client-ca-file"] == "two"
    assert found["data"]["requestheader-allowed-names"] == '["system:auth-proxy"]'


def test_identity_headers_escape_names() -> None:
    assert identity_headers(UserInfo("bob")) == [("X-Remote-User", "bob")]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"resources": 3}', b'{"resources": [{}]}', b'{"resources": [{"name": "a/b", "kind": "x"}]}']
)
def test_garbage_is_no_discovery(body: bytes) -> None:
    remote = read_remote({"metadata": {"name": "v1.x"}, "spec": {"group": "x", "version": "v1", "service": {}}})
    assert remote is not None
    assert aggregated_rows(remote, body) is None


def test_local_services_cover_what_is_served(world_free_kinds: Any) -> None:
    wanted = wanted_services(world_free_kinds, 0.0)
    assert "v1.apiregistration.k8s.io" not in wanted
    assert wanted["v2.autoscaling"]["spec"]["versionPriority"] == 30


@pytest.fixture
def world_free_kinds() -> Any:
    from minikube_py.components.apiserver.registry.kinds import Kinds
    from minikube_py.machinery.kinds import builtin_kinds

    return Kinds(builtin_kinds())
