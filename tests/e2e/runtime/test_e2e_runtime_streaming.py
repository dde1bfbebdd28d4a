"""exec, attach, port-forward and logs as kubectl and WebSocket clients use them, down to containerd.

A minimal API in front of the handlers serves one pod, so that kubectl itself can be the client.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from runtime_suite import Bench

from minikube_py.client.clock import SystemClock
from minikube_py.components.kubelet.streaming import (
    log_options,
    serve_attach,
    serve_exec,
    serve_logs,
    serve_port_forward,
)
from minikube_py.tools import ToolMissing, find_kubectl

_pod_path = "/api/v1/namespaces/default/pods/web"
_script = """
while read line; do
  case "$line" in
    quit) exit 0;;
    *) echo "got $line";;
  esac
done
"""


_PODS = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list"]}
_DISCOVERY: dict[str, dict[str, object]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [_PODS]},
}


def _answering(answer: dict[str, object]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(answer)

    return handler


@dataclass(slots=True)
class Site:
    """The pod behind the API, and where the API listens."""

    bench: Bench
    sandbox_id: str
    container_id: str
    log_path: Path
    url: str = ""

    async def pod(self, request: web.Request) -> web.Response:
        container = {"name": "main", "image": "x", "stdin": True}
        return web.json_response(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "namespace": "default", "uid": "u"},
                "spec": {"containers": [container]},
                "status": {"phase": "Running"},
            }
        )

    async def logs(self, request: web.Request) -> web.StreamResponse:
        return await serve_logs(request, self.log_path, log_options(request.query, SystemClock()))

    def application(self) -> web.Application:
        runtime = self.bench.runtime
        app = web.Application()
        for path, answer in _DISCOVERY.items():
            app.router.add_get(path, _answering(answer))
        app.router.add_get(_pod_path, self.pod)
        app.router.add_get(_pod_path + "/log", self.logs)

        async def run(request: web.Request) -> web.StreamResponse:
            return await serve_exec(request, runtime, self.container_id)

        async def attach(request: web.Request) -> web.StreamResponse:
            return await serve_attach(request, runtime, self.container_id)

        async def forward(request: web.Request) -> web.StreamResponse:
            return await serve_port_forward(request, runtime, self.sandbox_id)

        for name, handler in (("exec", run), ("attach", attach), ("portforward", forward)):
            app.router.add_route("*", f"{_pod_path}/{name}", handler)
        return app


@pytest_asyncio.fixture
async def site(bench: Bench) -> AsyncIterator[Site]:
    pod = bench.pod()
    sandbox_id = await bench.sandbox(pod)
    config = replace(bench.container(pod), command=("sh", "-c", _script), stdin=True, stdin_once=True)
    container_id = await bench.runtime.create_container(sandbox_id, config, pod)
    await bench.runtime.start_container(container_id)
    site = Site(bench, sandbox_id, container_id, Path(pod.log_directory, "main.log"))
    runner = web.AppRunner(site.application(), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


def kubectl_path() -> str:
    try:
        return str(find_kubectl(f"{os.environ['PATH']}:/opt/pyk3s-tools"))
    except ToolMissing as missing:
        pytest.skip(str(missing))


async def kubectl(
    site: Site, *arguments: str, websocket: bool = True, stdin: bytes | None = None
) -> tuple[bytes, bytes, int]:
    process = await asyncio.create_subprocess_exec(
        kubectl_path(),
        f"--server={site.url}",
        *arguments,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=kubectl_environment(websocket),
    )
    try:
        async with asyncio.timeout(20):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out, err, process.returncode or 0


def kubectl_environment(websocket: bool) -> dict[str, str]:
    value = "true" if websocket else "false"
    return {
        "HOME": "/nonexistent",
        "KUBECONFIG": "/dev/null",
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": value,
        "KUBECTL_PORT_FORWARD_WEBSOCKETS": value,
    }


async def listen(site: Site, port: int) -> None:
    """Answer one connection to a port of the pod; listens when this returns."""
    script = (
        f"echo answer | nc -l -p {port} >/dev/null 2>&1 & "
        f"until cat /proc/net/tcp /proc/net/tcp6 | grep -q ':{port:04X} '; do sleep 0.01; done"
    )
    result = await site.bench.runtime.exec_sync(site.container_id, ["sh", "-c", script], timeout_seconds=30)
    assert result.exit_code == 0, result.stderr


both = pytest.mark.parametrize("websocket", [pytest.param(True, id="websocket"), pytest.param(False, id="spdy")])


@both
async def test_kubectl_exec_carries_output_errors_and_the_exit_code(site: Site, websocket: bool) -> None:
    command = ["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 5"]
    out, err, code = await kubectl(site, *command, websocket=websocket)
    assert (out, code) == (b"out\n", 5), err
    assert b"err\n" in err and b"command terminated with exit code 5" in err


@both
async def test_kubectl_exec_carries_stdin_to_its_end(site: Site, websocket: bool) -> None:
    text = b"".join(b"line %d\n" % number for number in range(20_000))
    out, err, code = await kubectl(site, "exec", "-i", "web", "--", "cat", websocket=websocket, stdin=text)
    assert code == 0, err
    assert out == text


@both
async def test_kubectl_exec_carries_large_output(site: Site, websocket: bool) -> None:
    out, err, code = await kubectl(site, "exec", "web", "--", "seq", "200000", websocket=websocket)
    assert code == 0, err
    assert out.count(b"\n") == 200_000 and out.endswith(b"200000\n")


@both
async def test_kubectl_attach_talks_to_the_containers_own_process(site: Site, websocket: bool) -> None:
    out, err, code = await kubectl(site, "attach", "-i", "web", websocket=websocket, stdin=b"hello\nquit\n")
    assert code == 0, err
    assert b"got hello\n" in out


@both
async def test_kubectl_port_forward_reaches_a_port_of_the_pod(site: Site, websocket: bool) -> None:
    await listen(site, 8080)
    process = await asyncio.create_subprocess_exec(
        kubectl_path(),
        f"--server={site.url}",
        "port-forward",
        "pod/web",
        ":8080",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=kubectl_environment(websocket),
    )
    try:
        async with asyncio.timeout(20):
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            assert line.startswith("Forwarding from"), line
            port = int(line.split("127.0.0.1:")[1].split()[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readline() == b"answer\n"
            writer.close()
            await writer.wait_closed()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize(
    ("protocol", "encoded"),
    [
        pytest.param("v5.channel.k8s.io", False, id="v5"),
        pytest.param("v4.channel.k8s.io", False, id="v4"),
        pytest.param("v4.base64.channel.k8s.io", True, id="v4 in base64"),
        pytest.param("channel.k8s.io", False, id="v1"),
    ],
)
async def test_every_websocket_dialect_of_exec(site: Site, protocol: str, encoded: bool) -> None:
    query = "command=sh&command=-c&command=echo+hi;exit+7&stdout=true&stderr=true"
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{site.url}{_pod_path}/exec?{query}", protocols=[protocol])
        assert socket.protocol == protocol
        found: dict[int, bytes] = {}
        async for message in socket:
            if encoded:
                channel, data = int(message.data[0]), base64.b64decode(message.data[1:])
            else:
                channel, data = message.data[0], message.data[1:]
            found[channel] = found.get(channel, b"") + data
    assert found[1] == b"hi\n"
    if protocol == "channel.k8s.io":
        assert b"exit code 7" in found[3] and not found[3].startswith(b"{")
    else:
        assert b'"reason":"ExitCode"' in found[3] and b'"7"' in found[3]


async def test_a_terminal_has_the_size_that_the_client_tells(site: Site) -> None:
    query = "command=sh&command=-c&command=read+x;stty+size&stdin=1&stdout=1&tty=1"
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{site.url}{_pod_path}/exec?{query}", protocols=["v4.channel.k8s.io"])
        await socket.send_bytes(b'\x04{"Width":101,"Height":42}')
        await asyncio.sleep(0.1)  # the size travels on a stream of its own
        await socket.send_bytes(b"\x00go\n")
        out = b""
        async for message in socket:
            if message.data[0] == 1:
                out += message.data[1:]
    assert b"42 101" in out


async def test_the_older_websocket_port_forward(site: Site) -> None:
    await listen(site, 8081)
    async with aiohttp.ClientSession() as session:
        url = f"{site.url}{_pod_path}/portforward?ports=8081"
        socket = await session.ws_connect(url, protocols=["v4.channel.k8s.io"])
        first = [await socket.receive_bytes() for _ in range(2)]
        assert sorted(first) == [b"\x00\x91\x1f", b"\x01\x91\x1f"]
        assert (await socket.receive_bytes()) == b"\x00answer\n"
        await socket.close()


async def test_requests_without_an_upgrade_are_told_so(site: Site) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{site.url}{_pod_path}/exec?command=true&stdout=1") as response:
            assert response.status == 400 and "upgrade" in await response.text()
        async with session.post(f"{site.url}{_pod_path}/exec?command=true") as response:
            assert response.status == 400 and "at least 1 of stdin, stdout, stderr" in await response.text()


async def test_kubectl_logs_shows_what_the_container_wrote(site: Site) -> None:
    await kubectl(site, "attach", "-i", "web", stdin=b"one\ntwo\n")
    out, err, code = await kubectl(site, "logs", "web", "--tail=1")
    assert (out, code) == (b"got two\n", 0), err
    out, _, _ = await kubectl(site, "logs", "web", "--limit-bytes=6")
    assert out == b"got on"
