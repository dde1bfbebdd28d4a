"""Who owns which fields through which endpoint, and what is reserved for whom."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from minikube_py.client.types import Client
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.reservation import Reservation
from minikube_py.components.apiserver.registry.reset_fields import reset_fields
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.streaming.relay import _Client
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import NODES, PODS

APPLY = {"Content-Type": "application/apply-patch+yaml"}
POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}
JSON_PATCH = "application/json-patch+json"
DEPLOYMENTS = "/apis/apps/v1/namespaces/x/deployments"


async def test_status_of_a_new_object(client: Client) -> None:
    node = await client.create(NODES, {"metadata": {"name": "n"}, "status": {"phase": "Running"}})
    assert node["status"] == {"phase": "Running"} | node["status"]
    assert all("f:status" not in entry["fieldsV1"] for entry in node["metadata"].get("managedFields") or ())
    pod = await client.create(PODS, {**POD, "status": {"message": "mine"}}, "x")
    assert "message" not in pod["status"]


@pytest.mark.parametrize(
    ("group", "plural", "subresource", "expected"),
    [
        ("", "configmaps", "", ()),
        ("apps", "daemonsets", "", ("status",)),
        ("apps", "daemonsets", "status", ("spec",)),
        ("flowcontrol.apiserver.k8s.io", "flowschemas", "status", ("spec", "metadata")),
        ("storage.k8s.io", "volumeattachments", "status", ("spec", "metadata")),
        ("", "nodes", "", ("status",)),
        ("", "pods", "resize", ()),
        ("", "pods", "ephemeralcontainers", ()),
        ("certificates.k8s.io", "certificatesigningrequests", "", ("spec", "status")),
        ("certificates.k8s.io", "certificatesigningrequests", "status", ("spec", "status.conditions")),
    ],
)
def test_fields_that_endpoints_reset(
    api: ApiServer, group: str, plural: str, subresource: str, expected: tuple[str, ...]
) -> None:
    kind = api.core.kinds.get(group, "v1", plural)
    assert kind is not None
    assert reset_fields(kind, subresource) == expected


async def test_labels_of_pods_stay_when_their_parts_are_written(http: aiohttp.ClientSession) -> None:
    """Who is told of as the owner of what was put back is another matter: the reference tells of the writer."""
    container = {**POD["spec"]["containers"][0], "resources": {"requests": {"cpu": "2"}}}
    async with http.post("/api/v1/namespaces/x/pods", json={**POD, "spec": {"containers": [container]}}) as answer:
        assert answer.status == 201, await answer.text()
    name = POD["metadata"]["name"]
    parts = {
        "resize": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        "ephemeralcontainers": {"ephemeralContainers": [{"name": "e", "image": "i"}]},
    }
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    for part, spec in parts.items():
        body = {"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}, "spec": {**spec, "nodeName": "n"}}
        async with http.patch(f"/api/v1/namespaces/x/pods/{name}/{part}", json=body, headers=strategic) as answer:
            made = await answer.json()
            assert answer.status == 200, made
        assert not {"labels", "annotations"} & set(made["metadata"])
        assert "nodeName" not in made["spec"]


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("/spec/containers/-", {"name": "d", "image": "i"}, "spec.containers"),
        ("/spec/containers/0/name", "d", "spec.containers[0].name"),
    ],
)
async def test_a_resize_refuses_other_containers(
    http: aiohttp.ClientSession, path: str, value: object, wanted: str
) -> None:
    async with http.post("/api/v1/namespaces/x/pods", json=POD) as answer:
        assert answer.status == 201, await answer.text()
    operation = {"op": "add", "path": path, "value": value}
    url, headers = f"/api/v1/namespaces/x/pods/{POD['metadata']['name']}/resize", {"Content-Type": JSON_PATCH}
    async with http.patch(url, json=[operation], headers=headers) as answer:
        assert answer.status == 422, await answer.text()
        assert [cause["field"] for cause in (await answer.json())["details"]["causes"]] == [wanted]


async def test_an_applied_status_belongs_to_nobody(http: aiohttp.ClientSession) -> None:
    body = {**DEPLOYMENT, "status": {"replicas": 3}}
    async with http.patch(f"{DEPLOYMENTS}/d?fieldManager=me", json=body, headers=APPLY) as answer:
        assert answer.status == 201, await answer.text()
        made = await answer.json()
    assert [set(entry["fieldsV1"]) for entry in made["metadata"]["managedFields"]] == [{"f:spec"}]


async def test_metadata_that_is_not_applied_any_more(http: aiohttp.ClientSession) -> None:
    """Leaving out all of metadata that was applied takes away just that."""
    held = {**DEPLOYMENT, "metadata": {"name": "d", "finalizers": ["a.io/b"]}}
    for body, finalizers in ((held, ["a.io/b"]), (DEPLOYMENT, None)):
        async with http.patch(f"{DEPLOYMENTS}/d?fieldManager=me", json=body, headers=APPLY) as answer:
            assert answer.ok, await answer.text()
            assert (await answer.json())["metadata"].get("finalizers") == finalizers


async def test_a_scale_of_none_leaves_replicas_to_the_next(http: aiohttp.ClientSession) -> None:
    async with http.post(DEPLOYMENTS, json={**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 3}}) as answer:
        assert answer.status == 201
    scale: Object = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "x"}}
    async with http.put(f"{DEPLOYMENTS}/d/scale", json=scale) as answer:
        assert answer.status == 200, await answer.text()
    scale["spec"] = {"replicas": 5}
    async with http.patch(f"{DEPLOYMENTS}/d/scale?fieldManager=hpa", json=scale, headers=APPLY) as answer:
        assert answer.status == 200, await answer.text()
    async with http.get(f"{DEPLOYMENTS}/d") as answer:
        managers = (await answer.json())["metadata"]["managedFields"]
    owner = next(entry for entry in managers if entry.get("subresource") == "scale")
    assert (owner["manager"], owner["fieldsV1"], "time" in owner) == ("hpa", {"f:spec": {"f:replicas": {}}}, False)


async def test_what_a_cancelled_write_reserved_goes_back_when_it_fails() -> None:
    given_back = asyncio.Event()
    written: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def write() -> Outcome:
        return await written

    async def caller() -> None:
        with Reservation(given_back.set) as reserved:
            await reserved.spent_by(write())

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not given_back.is_set()
    written.set_exception(OSError("disk full"))
    await asyncio.wait({task})
    assert given_back.is_set()
    assert task.cancelled()


async def test_what_a_cancelled_write_reserved_is_kept_when_it_succeeds() -> None:
    given_back, done = asyncio.Event(), asyncio.Event()
    written: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def write() -> Outcome:
        return await written

    async def caller() -> None:
        with Reservation(given_back.set) as reserved:
            await reserved.spent_by(write(), done.set)

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    written.set_result(Outcome({}))
    await asyncio.wait({task})
    assert done.is_set()
    assert not given_back.is_set()


class Transport(asyncio.Transport):
    """A connection that says whether it is encrypted."""

    def __init__(self, tls: object) -> None:
        super().__init__({"ssl_object": tls})


@pytest.mark.parametrize(("tls", "stays"), [(None, True), (object(), False)], ids=["plain", "tls"])
async def test_relayed_clients_close_by_halves_only_without_tls(tls: object, stays: bool) -> None:
    client = _Client()
    client.attach(Transport(tls))
    assert client.eof_received() is stays
