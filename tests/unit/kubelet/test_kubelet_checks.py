"""The checks of probes and hooks against real servers on loopback."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from minikube_py.client.testing import FakeClock
from minikube_py.components.kubelet.pods.hooks import HookFailure, run_hook
from minikube_py.components.kubelet.probes.checks import Checker, Outcome, Target
from minikube_py.components.kubelet.runtime.fake import FakeRuntime
from minikube_py.machinery.objects import Object


async def answer(request: web.Request) -> web.StreamResponse:
    if request.path == "/away":
        raise web.HTTPFound("http://other.example.org/")
    if request.path == "/slow":
        await asyncio.sleep(30)
    wanted = request.headers.get("X-Probe", "")
    return web.Response(status=int(request.path.lstrip("/")), text=f"{wanted} {request.headers['User-Agent']}")


@pytest.mark.parametrize(
    ("path", "outcome", "text"),
    [
        pytest.param("/200", Outcome.SUCCESS, "me kube-probe/1.36", id="success"),
        pytest.param("/503", Outcome.FAILURE, "HTTP probe failed with statuscode: 503", id="server error"),
        pytest.param("/away", Outcome.WARNING, "Probe terminated redirects", id="redirect to another host"),
        pytest.param("/slow", Outcome.FAILURE, "context deadline exceeded", id="too slow"),
    ],
)
async def test_http(path: str, outcome: Outcome, text: str) -> None:
    app = web.Application()
    app.router.add_get("/{any}", answer)
    checker = Checker(FakeRuntime(FakeClock()))
    async with TestServer(app) as server:
        target = Target("c", "127.0.0.1", {"web": server.port or 0})
        handler: Object = {
            "httpGet": {"path": path, "port": "web", "httpHeaders": [{"name": "X-Probe", "value": "me"}]}
        }
        result = await checker.check(handler, target, 0.2)
        await checker.close()
    assert result.outcome is outcome and text in result.text


async def test_tcp_open_and_refused() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    checker, target = Checker(FakeRuntime(FakeClock())), Target("c", "127.0.0.1", {})
    assert (await checker.check({"tcpSocket": {"port": port}}, target, 1)).passed
    server.close()
    await server.wait_closed()
    refused = await checker.check({"tcpSocket": {"port": port}}, target, 1)
    assert refused.text == f"dial tcp 127.0.0.1:{port}: connect: connection refused"


async def test_unknown_port_name() -> None:
    checker = Checker(FakeRuntime(FakeClock()))
    result = await checker.check({"tcpSocket": {"port": "web"}}, Target("c", "127.0.0.1", {}), 1)
    assert (result.outcome, result.text) == (Outcome.FAILURE, "invalid port: web")


@pytest.mark.parametrize(
    ("service", "passed", "text"),
    [
        pytest.param("", True, "service healthy", id="the server itself"),
        pytest.param("down", False, 'service unhealthy (responded with "NOT_SERVING")', id="a service that is down"),
        pytest.param("none", False, "error: health rpc probe failed: unknown service", id="an unknown service"),
    ],
)
async def test_grpc_health(service: str, passed: bool, text: str) -> None:
    import grpc

    class Health(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> object:
            async def check(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
                if request == b"\x0a\x04none":
                    await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
                return b"\x08\x02" if request == b"\x0a\x04down" else b"\x08\x01"

            return grpc.unary_unary_rpc_method_handler(check)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Health(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    checker = Checker(FakeRuntime(FakeClock()))
    result = await checker.check({"grpc": {"port": port, "service": service}}, Target("c", "127.0.0.1", {}), 2)
    await server.stop(None)
    assert (result.passed, result.text) == (passed, text)


async def test_sleep_hook_takes_its_time_and_failures_raise() -> None:
    clock = FakeClock()
    checker, target = Checker(FakeRuntime(clock)), Target("c", "127.0.0.1", {})
    hook = asyncio.create_task(run_hook({"sleep": {"seconds": 5}}, target, checker=checker, clock=clock))
    await clock.advance(4)
    assert not hook.done()
    await clock.advance(1)
    await hook
    with pytest.raises(HookFailure, match="missing probe handler"):
        await run_hook({}, target, checker=checker, clock=clock)
