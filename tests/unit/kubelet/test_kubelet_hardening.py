"""The node's own defences: kernel settings that must hold, connections that never ask anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from minikube_py.components.kubelet.api import connections as connections_module
from minikube_py.components.kubelet.api.connections import FirstRequests
from minikube_py.components.kubelet.node.kernel_defaults import EXPECTED, wrong_kernel_settings
from minikube_py.components.kubelet.pods.cgroups import Cgroups
from minikube_py.components.kubelet.pods.resources import pod_cgroup
from minikube_py.components.kubelet.pods.security import container_security
from minikube_py.components.kubelet.runtime.types import SecurityProfile
from minikube_py.machinery.objects import Object


@pytest.fixture
def sysctls(tmp_path: Path) -> Path:
    for name, value in EXPECTED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    return tmp_path


def test_a_kernel_as_kubelets_need_it(sysctls: Path) -> None:
    assert wrong_kernel_settings(sysctls) == []


def test_each_wrong_setting_is_named(sysctls: Path) -> None:
    (sysctls / "kernel/panic").write_text("0\n")
    (sysctls / "vm/panic_on_oom").unlink()
    assert wrong_kernel_settings(sysctls) == [
        "vm.panic_on_oom=No such file or directory (needs 0)",
        "kernel.panic=0 (needs 10)",
    ]


@pytest.mark.parametrize(
    ("sent", "left_open"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n", False, id="half of the headers"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True, id="a request"),
    ],
)
async def test_who_does_not_ask_is_cut_off(sent: bytes, left_open: bool) -> None:
    async def hello(request: web.BaseRequest) -> web.Response:
        connections.heard(request.protocol)
        return web.Response(text="hello")

    server = web.Server(hello)
    connections = FirstRequests(server, 0.05)
    listening = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        writer.write(sent)
        if left_open:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"hello")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.15)
        else:
            assert await asyncio.wait_for(reader.read(), 30) == b""
    finally:
        writer.close()
        listening.close()
        await server.shutdown()


async def test_so_many_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "most_waiting", 2)

    async def hello(request: web.BaseRequest) -> web.Response:
        return web.Response(text="hello")

    server = web.Server(hello)
    listening = await asyncio.get_running_loop().create_server(FirstRequests(server, 60), "127.0.0.1", 0)
    opened = [await asyncio.open_connection(*listening.sockets[0].getsockname()) for _ in range(3)]
    try:
        assert await asyncio.wait_for(opened[0][0].read(), 30) == b""
        opened[2][1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await opened[2][0].readline()).startswith(b"HTTP/1.1 200")
    finally:
        for _, writer in opened:
            writer.close()
        listening.close()
        await server.shutdown()


@pytest.mark.parametrize(
    ("context", "default", "expected"),
    [
        pytest.param({}, False, "Unconfined", id="off"),
        pytest.param({}, True, "RuntimeDefault", id="on"),
        pytest.param({"seccompProfile": {"type": "Unconfined"}}, True, "Unconfined", id="asked for none"),
        pytest.param({"privileged": True}, True, "Unconfined", id="privileged"),
    ],
)
def test_seccomp_default(context: Object, default: bool, expected: str) -> None:
    container = {"name": "main", "securityContext": context}
    pod: Object = {"metadata": {"name": "p"}, "spec": {"containers": [container]}}
    assert container_security(pod, container, None, seccomp_default=default).seccomp == SecurityProfile(expected)


@pytest.mark.parametrize(("limit", "written"), [(0, False), (512, True)])
def test_a_pod_s_processes_are_limited(tmp_path: Path, limit: int, written: bool) -> None:
    for name in ("cpu", "memory", "pids"):
        (tmp_path / name).mkdir()
    pod: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main"}]}}
    Cgroups(tmp_path, 1).ensure_pod(pod_cgroup(pod, "u1", "/t", pids=limit))
    file = tmp_path / "pids/t/kubepods/besteffort/podu1/pids.max"
    assert file.exists() is written
    assert not written or file.read_text() == "512"
