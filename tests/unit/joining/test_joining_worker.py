"""What the process of a worker starts, and that there is one of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from minikube_py import agent
from minikube_py.client.recorder import Recorder
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.config import DISABLEABLE, ServerSettings
from minikube_py.joining.bootstrap import node_client
from minikube_py.joining.identity import node_files
from minikube_py.serving.errors import StartError
from minikube_py.serving.folder_lock import take_folder
from minikube_py.supervisor import Supervisor
from minikube_py.uninstall import is_held
from minikube_py.worker import worker_components


@pytest.mark.parametrize("disabled", [(), *((name,) for name in DISABLEABLE)])
def test_parts_are_those_of_a_node(tmp_path: Path, disabled: tuple[str, ...]) -> None:
    clock, files = FakeClock(), node_files(tmp_path)
    settings = ServerSettings(node_name="node-2", node_ip="192.0.2.2", data_dir=str(tmp_path), disable=disabled)
    client = node_client("https://127.0.0.1:1", files, clock)
    recorder = Recorder(client, "kubelet", "node-2", clock=clock)
    shown = agent.NodeApiFiles(files.serving, files.client_ca)
    node = agent.Node(settings, client, recorder, client, shown, clock, CollectorRegistry())
    components = worker_components(settings, files, client, recorder, node, clock)
    names = [component.name for component in Supervisor(components, clock).components]
    parts = {"network", "kubelet", "proxy", "dns", "local-storage"} - set(disabled)
    wanted = {"containerd", "certificates", "events"} | parts
    assert set(names) == wanted and len(names) == len(wanted)
    assert [component.name for component in components if component.vital] == ["containerd"]


def test_one_process_for_a_folder(tmp_path: Path) -> None:
    lock = node_files(tmp_path).lock
    assert not is_held(lock)
    held = take_folder(lock, shown="this folder", owner="pyk3s agent")
    try:
        assert is_held(lock)
        with pytest.raises(StartError, match="this folder is in use by another pyk3s agent"):
            take_folder(lock, shown="this folder", owner="pyk3s agent")
    finally:
        os.close(held)
    assert not is_held(lock)
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="choose another with --data-dir"):
        take_folder(node_files(tmp_path / "file").lock, shown="this folder", owner="pyk3s agent")
