"""The node API over plain HTTP: access, pod list, logs, metrics. TLS and streams are covered end to end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from kubelet_bench import Bench, make_pod
from prometheus_client import Counter

from minikube_py.components.kubelet import component
from minikube_py.components.kubelet.api.access import subresources
from minikube_py.components.kubelet.api.server import NodeApi
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import PODS

GOOD = {"Authorization": "Bearer good"}
LOCKED = {"Authorization": "Bearer locked"}


@pytest.fixture
async def api(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestServer]:
    """The node API of the bench's kubelet; the token "good" may do everything, "locked" nothing."""
    made: list[NodeApi] = []

    async def serve(kit, pods, machine, group):  # type: ignore[no-untyped-def]
        made.append(NodeApi(kit, pods, machine))
        return 0

    create = type(bench.client).create

    async def review(self, resource, obj, *args, **options):  # type: ignore[no-untyped-def]
        if resource.kind == "TokenReview":
            token = obj["spec"]["token"]
            return {"status": {"authenticated": token in ("good", "locked"), "user": {"username": token}}}
        if resource.kind == "SubjectAccessReview":
            return {"status": {"allowed": obj["spec"]["user"] == "good"}}
        return await create(self, resource, obj, *args, **options)

    monkeypatch.setattr(type(bench.client), "create", review)
    await bench.stop()
    monkeypatch.setattr(component, "_serve_node_api", serve)
    bench.start()
    await bench.until(lambda: made)
    server = TestServer(made[0].application())
    await server.start_server()
    yield server
    await server.close()


async def fetch(api: TestServer, path: str, headers: dict[str, str]) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(api.make_url(path), headers=headers) as response:
        return response.status, await response.text()


async def test_metrics_of_the_nodes_other_components_are_shown(api: TestServer, bench: Bench) -> None:
    queries = Counter("coredns_dns_requests_total", "DNS queries", registry=bench.neighbours)
    queries.inc()
    status, text = await fetch(api, "/metrics", GOOD)
    assert status == 200
    assert "coredns_dns_requests_total 1.0" in text
    assert "kubelet_started_pods_total" in text
    assert (await fetch(api, "/metrics", LOCKED))[0] == 403
    assert (await fetch(api, "/metrics", {}))[0] == 401
    bench.neighbours.unregister(queries)  # its component has ended
    assert "coredns_dns_requests_total" not in (await fetch(api, "/metrics", GOOD))[1]


async def test_strangers_are_refused(api: TestServer) -> None:
    assert await fetch(api, "/pods", {}) == (401, "Unauthorized")
    assert (await fetch(api, "/pods", {"Authorization": "Bearer wrong"}))[0] == 401
    status, text = await fetch(api, "/pods", LOCKED)
    assert (status, text) == (403, "Forbidden (user=locked, verb=get, resource=nodes, subresource(s)=[pods proxy])\n")


async def test_pods_health_and_metrics(api: TestServer, bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    status, text = await fetch(api, "/pods", GOOD)
    assert status == 200 and '"name":"web"' in text and '"kind":"PodList"' in text
    assert await fetch(api, "/healthz", GOOD) == (200, "ok")
    assert "kubelet_started_pods_total 1.0" in (await fetch(api, "/metrics", GOOD))[1]
    assert "node_cpu_usage_seconds_total" in (await fetch(api, "/metrics/resource", GOOD))[1]
    assert '"nodeName":"node-1"' in (await fetch(api, "/stats/summary", GOOD))[1]
    assert "container_cpu_usage_seconds_total" in (await fetch(api, "/metrics/cadvisor", GOOD))[1]


async def test_log_of_a_waiting_container(api: TestServer, bench: Bench) -> None:
    pod: Object = make_pod(containers=[{"name": "main", "image": "none:1", "imagePullPolicy": "Never"}])
    await bench.client.create(PODS, pod)
    await bench.until(lambda: bench.container()["state"]["waiting"]["reason"] == "ErrImageNeverPull")
    status, text = await fetch(api, "/containerLogs/default/web/main", GOOD)
    assert status == 400 and text == 'container "main" in pod "web" is waiting to start: ErrImageNeverPull'
    assert (await fetch(api, "/containerLogs/default/no/main", GOOD))[0] == 404


async def test_log_file_is_served(api: TestServer, bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    folder = bench.settings.pod_logs_dir / "default_web_uid-web" / "main"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "0.log").write_text("2026-11-21T08:00:00.000000000Z stdout F hello\n")
    # The second request on the same connection is answered when the first one's handler is through.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), headers=GOOD) as session:
        async with session.get(api.make_url("/containerLogs/default/web/main")) as response:
            assert (response.status, await response.text()) == (200, "hello\n")
        async with session.get(api.make_url("/healthz")) as response:
            assert await response.text() == "ok"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/stats/summary", ("stats",)),
        ("/metrics", ("metrics",)),
        ("/exec/a/b/c", ("proxy",)),
        ("/healthz", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
    ],
)
def test_paths_map_to_subresources(path: str, wanted: tuple[str, ...]) -> None:
    assert subresources(path) == wanted
