"""No request holds the event loop for long: what takes time is done in portions, or in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from loop_steps import counted_steps
from open_server import listening

from minikube_py.components.apiserver.server import ApiServer
from minikube_py.datastore.sqlite import SqliteDatastore
from minikube_py.machinery.objects import Object
from minikube_py.machinery.protobuf import load

MOST_CALLS = 20_000
OBJECTS = 4_000
FULL, X = "/api/v1/namespaces/full/pods", "/api/v1/namespaces/x/configmaps"
JSON, YAML, PROTOBUF = (f"application/{form}" for form in ("json", "yaml", "vnd.kubernetes.protobuf"))
TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io"
MERGE, STRATEGIC, APPLY, PATCH = (
    f"application/{form}"
    for form in ("merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml", "json-patch+json")
)
SLICES = "/apis/discovery.k8s.io/v1/namespaces/x/endpointslices"
WATCH = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
ENDPOINTS = [{"addresses": [f"10.0.{n // 250}.{n % 250 + 1}"]} for n in range(1000)]


def pod(number: int) -> bytes:
    meta = f'{{"name":"p-{number:05d}","namespace":"full","uid":"u{number}","labels":{{"n":"{number}"}}}}'
    spec = '{"containers":[{"name":"c","image":"i"}],"restartPolicy":"Always"}'
    return f'{{"kind":"Pod","apiVersion":"v1","metadata":{meta},"spec":{spec},"status":{{"phase":"Running"}}}}'.encode()


def large(name: str, value: str = "v") -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name},
            "data": {f"key-{number:05d}": value * 80 for number in range(5_000)}}  # fmt: skip


def wide_pod() -> Object:
    env = [{"name": f"E{number}", "value": "v"} for number in range(3_000)]
    return {"metadata": {"name": "wide"}, "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}


CASES: list[tuple[str, str, Any, str, str]] = [
    # method, path, body, its media type, what is accepted
    ("GET", FULL, None, "", JSON),
    ("GET", f"{FULL}?labelSelector=n!%3D1", None, "", JSON),
    ("GET", f"{FULL}?labelSelector=n+in+({','.join(map(str, range(1500)))})", None, "", JSON),
    ("GET", f"{FULL}?fieldSelector=status.phase%3DPending", None, "", JSON),
    ("GET", FULL, None, "", TABLE),
    ("GET", FULL, None, "", PROTOBUF),
    ("GET", f"{FULL}?limit=100", None, "", YAML),
    ("GET", f"{FULL}?{WATCH}", None, "", JSON),
    ("GET", f"{FULL}?{WATCH}", None, "", PROTOBUF),
    ("POST", X, large("a"), JSON, PROTOBUF),
    ("PUT", f"{X}/a", large("a", "w"), JSON, YAML),
    ("PATCH", f"{X}/a", large("a", "x"), MERGE, JSON),
    ("PATCH", f"{X}/a", large("a", "y"), STRATEGIC, JSON),
    ("PATCH", f"{X}/a", [{"op": "add", "path": "/data/one", "value": "1"}], PATCH, JSON),
    ("PATCH", f"{X}/b?fieldManager=m", large("b"), APPLY, JSON),
    ("PATCH", f"{X}/b?fieldManager=m", large("b", "w"), APPLY, JSON),
    ("GET", f"{X}/a", None, "", YAML),
    ("GET", f"{X}/a", None, "", PROTOBUF),
    ("GET", f"{X}?{WATCH}", None, "", PROTOBUF),
    ("DELETE", f"{X}/a", None, "", JSON),
    ("POST", SLICES, {"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": ENDPOINTS}, JSON, JSON),
    ("PATCH", f"{SLICES}/a", {"metadata": {"labels": {"a": "b"}}}, MERGE, JSON),
    ("POST", "/api/v1/namespaces/x/pods", wide_pod(), JSON, JSON),
    ("PATCH", "/api/v1/namespaces/x/pods/wide/status", {"status": {"message": "m"}}, MERGE, PROTOBUF),
    ("DELETE", FULL, None, "", JSON),
]


@pytest.fixture
async def http(api: ApiServer, store: SqliteDatastore) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with a server that holds thousands of pods and has served something of each sort before."""
    await asyncio.gather(
        *(store.create(f"/registry/core/pods/full/p-{number:05d}", pod(number)) for number in range(OBJECTS))
    )
    await asyncio.to_thread(load)
    async with listening(api) as url, aiohttp.ClientSession(url, max_line_size=65_536) as session:
        small = {"metadata": {"name": "small"}, "data": {"k": "v"}}
        await ask(session, "POST", X, small, JSON, JSON)
        await ask(
            session, "POST", "/api/v1/namespaces/x/pods", {**wide_pod(), "metadata": {"name": "warm"}}, JSON, TABLE
        )
        yield session


async def ask(session: aiohttp.ClientSession, method: str, path: str, body: Any, form: str, accept: str) -> bytes:
    headers = {"Accept": accept, **({"Content-Type": form} if form else {})}
    data = orjson.dumps(body) if body is not None else None
    async with session.request(method, path, data=data, headers=headers) as answer:
        found = await answer.read()
        assert answer.status < 300, (method, path[:80], found[:300])
        return found


async def test_no_step_of_a_request_is_long(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long: dict[str, int] = {}
    with counted_steps(monkeypatch) as steps:
        for method, path, body, form, accept in CASES:
            steps.since()
            await ask(http, method, path, body, form, accept)
            calls = steps.since()
            if calls > MOST_CALLS:
                too_long[f"{method} {path[:60]} {form} {accept}"] = calls
    assert too_long == {}


async def test_no_list_of_the_past_is_long(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = orjson.loads(await ask(http, "GET", f"{FULL}?limit=1", None, "", JSON))["metadata"]["resourceVersion"]
    await ask(http, "DELETE", f"{FULL}/p-00000?gracePeriodSeconds=0", None, "", JSON)
    with counted_steps(monkeypatch) as steps:
        found = await ask(http, "GET", f"{FULL}?resourceVersion={newest}&resourceVersionMatch=Exact", None, "", JSON)
        assert steps.since() < MOST_CALLS
    assert len(orjson.loads(found)["items"]) == OBJECTS
