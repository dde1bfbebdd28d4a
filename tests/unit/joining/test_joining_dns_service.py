"""When the Service of the cluster DNS comes to a server that has no node of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.config import ServerSettings
from minikube_py.machinery.errors import service_unavailable
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NAMESPACES, NODES, SERVICES, Resource
from minikube_py.serving.cluster_dns import dns_service_with_first_worker

WORKER: dict[str, Any] = {
    "metadata": {"name": "w"},
    "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}},
}


@pytest.mark.parametrize(
    ("node", "settings", "services"),
    [
        pytest.param(None, ServerSettings(disable_agent=True), 0, id="no node"),
        pytest.param(
            {"metadata": {"name": "drawn"}}, ServerSettings(disable_agent=True), 0, id="a node without kubelet"
        ),
        pytest.param(WORKER, ServerSettings(disable_agent=True), 1, id="a worker"),
        pytest.param(WORKER, ServerSettings(disable_agent=True, disable=("dns",)), 0, id="disabled"),
    ],
)
async def test_it_comes_with_the_first_worker(node: Object | None, settings: ServerSettings, services: int) -> None:
    clock = FakeClock()
    client, failing = FakeClient(clock), [True]
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})

    def refuse(verb: str, resource: Resource, obj: Object) -> None:
        if resource == SERVICES and failing.pop():
            failing.append(False)
            raise service_unavailable("not now")

    client.reactions.append(refuse)
    waiting = asyncio.ensure_future(dns_service_with_first_worker(client, settings, clock))
    await clock.settle()
    if node is not None:
        client.seed(NODES, node)
    await clock.advance(60)
    found = client.all(SERVICES)
    assert len(found) == services
    if found:
        assert found[0]["spec"]["clusterIP"] == "10.43.0.10"
    assert waiting.done() == (node is WORKER)
    waiting.cancel()
    await asyncio.wait({waiting})
