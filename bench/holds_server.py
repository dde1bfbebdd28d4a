"""A watched API server with thousands of objects, for ``bench/holds``."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import ROOT

COUNT = int(os.environ.get("COUNT", "10000"))
TOKEN = secrets.token_hex(16)
UNVERIFIED = ssl._create_unverified_context()
_WATCHED = Path(__file__).resolve().parent / "api_load" / "watched_server.py"


@dataclass(slots=True)
class Api:
    """The server under watch."""

    port: int
    holds: Path
    read: int = 0
    process: Any = field(default=None)

    def call(self, method: str, path: str, body: object = None, *, form: str = "application/json",
             accept: str = "application/json", fails: bool = False) -> bytes:  # fmt: skip
        """One request on a connection of its own. SystemExit when it is refused and ``fails`` is not expected."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": form, "Accept": accept}
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=UNVERIFIED, timeout=300)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            found = answer.read()
        finally:
            connection.close()
        if answer.status >= 400 and not fails:
            raise SystemExit(f"{method} {path}: {answer.status} {found[:500]!r}")
        return found

    def told(self) -> list[dict[str, Any]]:
        """The long steps since the last call."""
        data = self.holds.read_bytes()
        new, self.read = data[self.read :], len(data)
        return [json.loads(line) for line in new.splitlines()]


def pod(number: int, namespace: str = "full") -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"pod-{number:06d}", "namespace": namespace, "uid": f"00000000-0000-4000-8000-{number:012d}",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": f"app-{number % 50}", "n": str(number)},
            "managedFields": [
                {"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
                 "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}}}}}}
            ],
        },
        "spec": {
            "containers": [
                {"name": "c", "image": "example.com/image:1", "resources": {"requests": {"cpu": "10m"}},
                 "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                 "imagePullPolicy": "IfNotPresent", "env": [{"name": f"E{n}", "value": "v"} for n in range(5)]}
            ],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "securityContext": {},
            "schedulerName": "default-scheduler", "priority": 0, "enableServiceLinks": True,
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }  # fmt: skip


def config_map(name: str, namespace: str = "full", data: dict[str, str] | None = None) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "labels": {"app": name[-1]}}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": data or {"value": "x" * 200}}


def _stored(made: dict[str, Any]) -> bytes:
    return json.dumps(made, separators=(",", ":")).encode()


async def _seed(folder: Path) -> None:
    """What no API server has to make: objects as they lie in the datastore."""
    from minikube_py.client.clock import SystemClock
    from minikube_py.datastore.sqlite import open_sqlite

    store = await open_sqlite(folder / "state.db", clock=SystemClock())
    try:
        for kind, make in (("pods", pod), ("configmaps", lambda number: config_map(f"map-{number:06d}"))):
            for start in range(0, COUNT, 500):
                writes = [
                    store.create(f"/registry/core/{kind}/full/{made['metadata']['name']}", _stored(made))
                    for made in map(make, range(start, min(start + 500, COUNT)))
                ]
                await asyncio.gather(*writes)
    finally:
        await store.close()


@contextmanager
def watched_server() -> Iterator[Api]:
    """A server that holds ``COUNT`` pods and ConfigMaps, with its controllers, without node and scheduler."""
    folder = Path("/tmp") / f"pyk3s-holds-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    (folder / "tokens.csv").write_text(f'{TOKEN},bench,1,"system:masters"\n')
    database = folder / "data" / "server" / "db"
    database.mkdir(parents=True)
    asyncio.run(_seed(database))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [ROOT / ".venv/bin/python", _WATCHED, "server", "--data-dir", folder / "data"]
    command += ["--write-kubeconfig", folder / "config", "--disable-agent", "--disable-scheduler"]
    command += ["--token-auth-file", folder / "tokens.csv", "--bind-address", "127.0.0.1"]
    command += ["--https-listen-port", str(port), *os.environ.get("SERVER_FLAGS", "").split()]
    environment = {**os.environ, "HOLDS_FILE": str(folder / "holds")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], env=environment, stdout=log, stderr=log)
    api = Api(port, folder / "holds", process=process)
    try:
        _await_ready(api, folder / "log")
        yield api
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        if os.environ.get("SHOW_LOG"):
            print((folder / "log").read_text()[-5000:])
        shutil.rmtree(folder)


def _await_ready(api: Api, log: Path) -> None:
    ends = time.monotonic() + 60
    while True:
        try:
            api.call("GET", "/readyz")
            for name in ("x", "full"):
                api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            return
        except (OSError, SystemExit) as error:
            if api.process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"the server did not start: {error}\n{log.read_text()[-3000:]}") from error
            time.sleep(0.2)
