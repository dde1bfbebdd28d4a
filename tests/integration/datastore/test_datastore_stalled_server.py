"""The real server process on a disk whose fsync hangs (``stalling_disk.c``): what clients see; it can be ended.

The same with a node and pods: ``tests/e2e/test_e2e_stalled_disk.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from minikube_py.datastore import tools

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler for the stalling shim"),
    pytest.mark.timeout(300),
]

_ROOT = Path(__file__).resolve().parents[3]
_PORT = 22103
_MAPS, _LEASES = (
    "/api/v1/namespaces/default/configmaps",
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
)


@dataclass
class Server:
    folder: Path
    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession

    @property
    def marker(self) -> Path:
        return self.folder / "stalled"

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.http.request(method, path, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text

    async def wait_ready(self) -> None:
        async with asyncio.timeout(40):
            while True:
                assert self.process.returncode is None, (self.folder / "log").read_text()
                try:
                    if (await self.ask("GET", "/readyz"))[0] == 200:
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)


def _prepare(folder: Path) -> tuple[Path, Path]:
    """The shim and a file of tokens."""
    shim, tokens = folder / "stall.so", folder / "tokens.csv"
    source = Path(__file__).with_name("stalling_disk.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", shim, source, "-ldl"], check=True)
    tokens.write_text('secret,admin,1,"system:masters"\n')
    return shim, tokens


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    shim, tokens = await asyncio.to_thread(_prepare, folder)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "STALL_PREFIX": f"{folder}/data/server/db/",
        "STALL_WHILE": str(folder / "stalled"),
    }
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "minikube_py.cli", "server", "--disable-agent", "--disable-scheduler",
            "--disable-controller-manager", f"--data-dir={folder}/data",
            f"--write-kubeconfig={folder}/kubeconfig", "--bind-address=127.0.0.1", f"--https-listen-port={_PORT}",
            f"--token-auth-file={tokens}", "--node-ip=10.88.0.1", env=environment, stdout=log, stderr=log,
            cwd=_ROOT,
        )  # fmt: skip
    session = aiohttp.ClientSession(
        f"https://127.0.0.1:{_PORT}", headers={"Authorization": "Bearer secret"},
        connector=aiohttp.TCPConnector(ssl=False),
    )  # fmt: skip
    try:
        server = Server(folder, process, session)
        await server.wait_ready()
        yield server
    finally:
        await session.close()
        if process.returncode is None:
            process.kill()
        await process.wait()
        (folder / "stalled").unlink(missing_ok=True)


def config_map(name: str) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


def lease(version: str = "", transitions: int = 0) -> Any:
    meta = {"name": "n1", **({"resourceVersion": version} if version else {})}
    spec = {"holderIdentity": "n1", "leaseDurationSeconds": 40, "leaseTransitions": transitions}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


async def test_degrades_and_recovers(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert (await server.ask("POST", _MAPS, config_map("old")))[0] == 201
        status, held = await server.ask("POST", _LEASES, lease())
        assert status == 201
        version = held["metadata"]["resourceVersion"]
        async with server.http.get(f"{_LEASES}?watch=1&resourceVersion={version}") as watch:
            server.marker.touch()
            began = time.monotonic()
            status, told = await server.ask("POST", _MAPS, config_map("hangs"))
            # The write that is with the disk may take place yet; one that waits behind another's never will.
            assert (status, told["reason"]) in ((504, "Timeout"), (503, "ServiceUnavailable")), told
            hangs = status == 504
            assert 5 < time.monotonic() - began < 30
            began = time.monotonic()
            status, told = await server.ask("POST", _MAPS, config_map("refused"))
            assert (status, told["reason"]) == (503, "ServiceUnavailable") and time.monotonic() - began < 5
            status, page = await server.ask("GET", "/readyz")
            assert status == 500 and "[-]etcd-readiness failed" in page
            assert (await server.ask("GET", "/livez")) == (200, "ok")
            status, listed = await server.ask("GET", _MAPS)
            assert status == 200, listed
            names = [item["metadata"]["name"] for item in listed["items"]]
            assert "old" in names and "hangs" not in names
            for number in range(1, 4):
                status, held = await server.ask("PUT", f"{_LEASES}/n1", lease(version, number))
                assert status == 200
                version = held["metadata"]["resourceVersion"]
                async with asyncio.timeout(30):
                    event = json.loads(await watch.content.readline())
                assert event["object"]["metadata"]["resourceVersion"] == version
        server.marker.unlink()
        await server.wait_ready()
        status, found = await server.ask("GET", f"{_MAPS}/hangs")
        assert (status == 200) == hangs
        assert not hangs or int(found["metadata"]["resourceVersion"]) > int(version)
        assert (await server.ask("GET", f"{_MAPS}/refused"))[0] == 404
        assert (await server.ask("POST", _MAPS, config_map("after")))[0] == 201
    report = await tools.check(f"sqlite:///{tmp_path}/data/server/db/state.db")
    assert report.findings == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_it_can_be_ended_meanwhile_and_starts_again(tmp_path: Path, how: signal.Signals) -> None:
    async with serving(tmp_path) as server:
        await server.ask("POST", _MAPS, config_map("old"))
        _, held = await server.ask("POST", _LEASES, lease())
        server.marker.touch()
        assert (await server.ask("POST", _MAPS, config_map("hangs")))[0] in (503, 504)
        _, held = await server.ask("PUT", f"{_LEASES}/n1", lease(held["metadata"]["resourceVersion"], 1))
        server.process.send_signal(how)
        async with asyncio.timeout(40):
            await server.process.wait()
        server.marker.unlink()
    async with serving(tmp_path) as server:
        assert (await server.ask("GET", f"{_MAPS}/old"))[0] == 200
        _, found = await server.ask("GET", _MAPS)
        assert int(found["metadata"]["resourceVersion"]) >= int(held["metadata"]["resourceVersion"])
        assert (await server.ask("POST", _MAPS, config_map("after")))[0] == 201
