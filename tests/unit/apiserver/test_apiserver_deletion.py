"""Deletions that somebody else finishes first, that warn, and that leave work for others."""

from __future__ import annotations

import aiohttp
import pytest

from minikube_py.client.types import Client, DeleteOptions, PatchType
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.create import create
from minikube_py.components.apiserver.registry.delete import delete
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.types import LOOPBACK, RequestContext
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS, PODS

POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
JOB: Object = {
    "metadata": {"name": "j"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
}
DEFINITION: Object = {
    "metadata": {"name": "ks.d.io", "finalizers": ["orphan"]},
    "spec": {
        "group": "d.io",
        "scope": "Namespaced",
        "names": {"plural": "ks", "kind": "K"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody (a kubelet, say) removes each object just before the API server does."""
    remove = Core.remove

    async def twice(core: Core, kind: Kind, entry: Entry, *, client: str = "") -> Entry:
        await remove(core, kind, entry)
        return await remove(core, kind, entry, client=client)

    monkeypatch.setattr(Core, "remove", twice)


async def test_a_pod_that_nothing_holds_is_marked_and_goes(api: ApiServer, client: Client) -> None:
    await client.create(PODS, POD, "x")
    before = api.core.caches.revision
    gone = await delete(api.core, RequestContext(LOOPBACK), api.core.kinds.of(PODS), "x", "p")
    meta = gone.object["metadata"]
    assert (meta["deletionGracePeriodSeconds"], meta["resourceVersion"]) == (0, str(before + 2))


@pytest.mark.usefixtures("overtaken")
async def test_a_pod_that_vanishes_meanwhile_is_deleted(api: ApiServer, client: Client) -> None:
    await client.create(PODS, POD, "x")
    kind, options = api.core.kinds.of(PODS), DeleteOptions(grace_period_seconds=0)
    gone = await delete(api.core, RequestContext(LOOPBACK), kind, "x", "p", options)
    assert gone.object["metadata"]["deletionGracePeriodSeconds"] == 0
    with pytest.raises(ApiError, match="not found"):
        await delete(api.core, RequestContext(LOOPBACK), kind, "x", "p")


@pytest.mark.usefixtures("overtaken")
async def test_other_objects_that_vanish_meanwhile_are_not_found(api: ApiServer, client: Client) -> None:
    await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "x")
    with pytest.raises(ApiError) as caught:
        await delete(api.core, RequestContext(LOOPBACK), api.core.kinds.of(CONFIG_MAPS), "x", "a")
    assert caught.value.code == 404


@pytest.mark.parametrize(("query", "warns"), [("", True), ("?propagationPolicy=Background", False)])
async def test_deleting_a_job_warns_of_its_pods(http: aiohttp.ClientSession, query: str, warns: bool) -> None:
    jobs = "/apis/batch/v1/namespaces/x/jobs"
    async with http.post(jobs, json=JOB) as answer:
        assert answer.status == 201, await answer.text()
    async with http.delete(f"{jobs}/j{query}") as answer:
        assert ("child pods are preserved" in answer.headers.get("Warning", "")) is warns


async def test_definitions_are_cleaned_up_whatever_else_holds_them(api: ApiServer) -> None:
    kind = api.core.kinds.get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert kind is not None
    ctx = RequestContext(LOOPBACK)
    await create(api.core, ctx, kind, "", DEFINITION)
    marked = await delete(api.core, ctx, kind, "", "ks.d.io")
    finalizers = marked.object["metadata"]["finalizers"]
    assert sorted(finalizers) == ["customresourcecleanup.apiextensions.k8s.io", "orphan"]


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        pytest.param({"kind": "Pod"}, "converting (v1.Pod) to (core.ConfigMap): unknown conversion", id="other-kind"),
        pytest.param({"kind": "Nope"}, 'no kind "Nope" is registered for version "v1"', id="unknown-kind"),
        pytest.param({"apiVersion": "v9"}, 'no kind "ConfigMap" is registered for version "v9"', id="unknown-version"),
    ],
)
async def test_patches_do_not_change_the_type(client: Client, patch: Object, why: str) -> None:
    await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "x")
    with pytest.raises(ApiError) as caught:
        await client.patch(CONFIG_MAPS, "a", patch, "x", patch_type=PatchType.MERGE)
    assert caught.value.code == 422
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        pytest.param({"data": ["x"]}, "cannot restore map from slice", id="map"),
        pytest.param({"metadata": {"finalizers": {"a": "b"}}}, "cannot restore slice from map", id="list"),
        pytest.param({"immutable": "yes"}, "unrecognized type: bool", id="bool"),
        pytest.param({"data": {"a": 1}}, "cannot convert int64 to string", id="number"),
    ],
)
async def test_strategic_patches_that_do_not_fit(client: Client, patch: Object, why: str) -> None:
    await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "x")
    with pytest.raises(ApiError) as caught:
        await client.patch(CONFIG_MAPS, "a", patch, "x", patch_type=PatchType.STRATEGIC)
    assert (caught.value.code, caught.value.message.endswith(why)) == (422, True)
