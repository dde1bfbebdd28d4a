"""What ends a start: one line that names the option at fault."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from minikube_py import agent
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.config import ConfigError, ServerSettings
from minikube_py.serving.errors import StartError, explained


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        pytest.param({"https_listen_port": 0}, "--https-listen-port", id="the API's port"),
        pytest.param({"etcd_listen": "127.0.0.1:0"}, "--etcd-listen", id="the etcd face's port"),
    ],
)
async def test_a_busy_port_is_named_with_the_option_that_chooses_it(settings: dict[str, object], flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = {name: port if value == 0 else f"127.0.0.1:{port}" for name, value in settings.items()}
        with pytest.raises(OSError, match="in use") as caught:
            await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", port)
        found = explained(ExceptionGroup("start", [caught.value]), ServerSettings(**given))  # type: ignore[arg-type]
    assert isinstance(found, StartError)
    assert str(found) == (
        f"port {port} on 127.0.0.1 is in use; stop the program that has it or choose another with {flag}"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(ConfigError("--x: is wrong"), "--x: is wrong", id="a setting"),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "/x"), "cannot start: /x: Permission denied", id="a file"
        ),
        pytest.param(OSError("no more"), "cannot start: no more", id="an error without a number"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error: Exception, text: str) -> None:
    found = explained(error, ServerSettings())
    assert isinstance(found, StartError) and str(found) == text


def test_a_fault_of_the_program_is_shown_as_it_is() -> None:
    fault = KeyError("x")
    assert explained(fault, ServerSettings()) is fault


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            {}, "--kubelet-port: cannot listen on port PORT: Address already in use", id="a port that is taken"
        ),
        pytest.param({"kubelet_port": 0, "pod_logs_dir": "/dev/null/x"}, "--pod-logs-dir: cannot make", id="no folder"),
        pytest.param({"kubelet_port": 0}, "no CRI runtime answers at unix:///nowhere; start it", id="no runtime"),
    ],
)
async def test_a_machine_that_cannot_be_a_node(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        given = {"kubelet_port": port, "data_dir": str(tmp_path), "container_runtime_endpoint": "/nowhere", **settings}
        component = agent.runtime_component(ServerSettings(**given), FakeClock())  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=message.replace("PORT", str(port))):
            await component.run(lambda: None)


async def test_a_runtime_that_starts_again_is_not_hindered_by_the_own_kubelet(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as held:
        port = held.getsockname()[1]
    settings = ServerSettings(data_dir=str(tmp_path), kubelet_port=port, container_runtime_endpoint="/nowhere")
    component = agent.runtime_component(settings, FakeClock())
    with pytest.raises(ConfigError, match="no CRI runtime"):
        await component.run(lambda: None)
    with socket.create_server(("0.0.0.0", port)), pytest.raises(ConfigError, match="no CRI runtime"):
        await component.run(lambda: None)
