"""A containerd of the tests' own, in a network namespace of the tests' own; nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "runtime"))

from runtime_suite import Bench

from minikube_py.client.clock import SystemClock
from minikube_py.components.kubelet.runtime.containerd import run_containerd, stop_containerd
from minikube_py.components.kubelet.runtime.containerd_config import (
    ContainerdSettings,
    RuntimeMissing,
    containerd_settings,
    probe_machine,
)
from minikube_py.components.kubelet.runtime.cri import CriRuntime
from minikube_py.components.kubelet.runtime.images.build import ImageSpec, build_archive, busybox_files
from minikube_py.components.network.cni import NetworkSettings, render_cni
from minikube_py.components.network.component import remove_network, write_config

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
IMAGE = "localhost/e2e/busybox:1"
_clone_newnet = 0x40000000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e/runtime" in str(item.path):
            item.add_marker(pytest.mark.e2e)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """What the server runs on; the unit tests use asyncio's own loop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", autouse=True)
def own_network() -> Iterator[None]:
    """Move this thread (and those it starts) into a fresh network namespace for the module's tests."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(_clone_newnet) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        yield
    finally:
        assert libc.setns(before, _clone_newnet) == 0
        os.close(before)


@pytest.fixture(scope="module")
def settings() -> Iterator[ContainerdSettings]:
    """Folders with short names: socket paths are limited. The busybox image waits for import."""
    base = Path(tempfile.mkdtemp(prefix="p3rt-"))
    settings = containerd_settings(base / "data", base / "run")
    try:
        probe_machine(settings)
    except RuntimeMissing as missing:
        pytest.skip(str(missing))
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    applets = ("sh", "sleep", "echo", "cat", "nc", "true", "seq", "stty", "id", "grep")
    files = busybox_files(busybox, applets)
    build_archive(settings.images_dir / "busybox.tar", ImageSpec(name=IMAGE, files=files, cmd=("sh",)))
    (settings.images_dir / "broken.tar").write_bytes(b"a bad archive must not keep a node from starting")
    network = network_settings(settings)
    write_config(network, render_cni(network, ["10.199.0.0/24"]))
    yield settings
    asyncio.run(remove_network(network))
    asyncio.run(stop_containerd(settings, SystemClock()))
    shutil.rmtree(base)
    for group in (Path("/sys/fs/cgroup/k8s.io"), *Path("/sys/fs/cgroup").glob("*/k8s.io")):
        with contextlib.suppress(OSError):  # in use by another containerd
            group.rmdir()


def network_settings(settings: ContainerdSettings) -> NetworkSettings:
    return NetworkSettings(
        node_name="node",
        cluster_cidr="10.199.0.0/16",
        conf_dir=settings.cni_conf_dir,
        state_dir=settings.state / "cni",
        bridge="p3e2e0",
    )


@pytest_asyncio.fixture
async def runtime(settings: ContainerdSettings) -> AsyncIterator[CriRuntime]:
    """CRI of a running containerd, as the component starts it."""
    ready = asyncio.Event()
    task = asyncio.create_task(run_containerd(settings, SystemClock(), ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    runtime = CriRuntime(str(settings.socket), SystemClock())
    while not (await runtime.status()).network_ready:  # noqa: ASYNC110 - CRI has no event for it
        await asyncio.sleep(0.01)
    yield runtime
    await runtime.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest_asyncio.fixture
async def bench(runtime: CriRuntime, settings: ContainerdSettings) -> AsyncIterator[Bench]:
    bench = Bench(
        runtime,
        settings.root.parent,
        IMAGE,
        IMAGE,
        sleep_command=("sleep", "1000"),
        end_command=("sh", "-c", "exit 3"),
    )
    yield bench
    await bench.cleanup()
