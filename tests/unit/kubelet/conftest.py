"""The kubelet's bench as a fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubelet_bench import IMAGE, NODE, Bench, NodeClient

from minikube_py.client.testing import FakeClock, FakeRecorder
from minikube_py.components.kubelet.runtime.fake import FakeImage, FakeRuntime
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.machinery.resources import SERVICE_ACCOUNTS


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    clock = FakeClock()
    cgroups = tmp_path / "cgroup"
    cgroups.mkdir()
    settings = KubeletSettings(
        node_name=NODE,
        node_ip="192.0.2.10",
        root_dir=tmp_path / "kubelet",
        pod_logs_dir=tmp_path / "logs",
        cluster_dns=("10.43.0.10",),
        cgroup_mount=cgroups,
        eviction_memory_available_bytes=0,
        eviction_nodefs_available_percent=0,
    )

    def folder_instead(target: Path, *, size_bytes: int = 0, mode: int = 0o777) -> None:
        target.mkdir(parents=True, exist_ok=True)

    for module in ("payload", "paths"):
        monkeypatch.setattr(f"minikube_py.components.kubelet.volumes.{module}.mount_tmpfs", folder_instead)
    client = NodeClient(clock)
    client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    made = Bench(client, FakeRuntime(clock, [FakeImage(IMAGE)]), clock, FakeRecorder(), settings)
    made.start()
    yield made
    await made.stop()
