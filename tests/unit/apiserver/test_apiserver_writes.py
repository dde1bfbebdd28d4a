"""What writes may leave out, repeat or get wrong, and where they may go."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from minikube_py.machinery.objects import Object

MAPS = "/api/v1/namespaces/x/configmaps"
MERGE = "application/merge-patch+json"


async def send(
    http: aiohttp.ClientSession, method: str, path: str, body: object = None, media_type: str = "application/json"
) -> tuple[int, Object, list[str]]:
    headers = {"Content-Type": media_type} if body is not None else {}
    async with http.request(method, path, json=body, headers=headers) as answer:
        found: Object = await answer.json(content_type=None) if "json" in answer.content_type else {}
        return answer.status, found, answer.headers.getall("Warning", [])


async def make(http: aiohttp.ClientSession, name: str, **metadata: object) -> Object:
    status, found, _ = await send(http, "POST", MAPS, {"metadata": {"name": name, **metadata}})
    assert status == 201, found
    return found


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/configmaps?fieldSelector=metadata.name%3Da", 405),
        ("DELETE", "/api/v1/configmaps/a", 404),
        ("PATCH", "/api/v1/configmaps/a", 404),
        ("GET", "/api/v1/configmaps/a", 404),
        ("POST", "/api/v1/bindings", 404),
    ],
)
async def test_only_lists_and_watches_go_across_namespaces(
    http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    await make(http, "a")
    found = await send(http, method, path, {} if method in ("POST", "PATCH") else None, MERGE)
    assert (found[0], found[1]["kind"]) == (status, "Status")
    assert (await send(http, "GET", f"{MAPS}/a"))[0] == 200


@pytest.mark.parametrize(
    ("revision", "created", "updated"),
    [
        pytest.param("0", 201, (200, ""), id="none"),
        pytest.param("7x", 201, (500, 'strconv.ParseUint: parsing "7x": invalid syntax'), id="no number"),
        pytest.param("99999", 500, (409, ""), id="another"),
    ],
)
async def test_resource_versions_of_what_is_written(
    http: aiohttp.ClientSession, revision: str, created: int, updated: tuple[int, str]
) -> None:
    body = {"metadata": {"name": "a", "resourceVersion": revision}}
    assert (await send(http, "POST", MAPS, body))[0] == created
    await make(http, "b")
    body["metadata"]["name"] = "b"
    status, found, _ = await send(http, "PUT", f"{MAPS}/b", body)
    assert status == updated[0]
    if updated[1]:
        assert found["message"] == updated[1]


async def test_resource_versions_are_numbers(http: aiohttp.ClientSession) -> None:
    made = await make(http, "a")
    made["metadata"]["resourceVersion"] = "00" + made["metadata"]["resourceVersion"]
    assert (await send(http, "PUT", f"{MAPS}/a", made))[0] == 200


async def test_repeated_owners_are_dropped(http: aiohttp.ClientSession) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
    owners = [owner, {**owner, "uid": "v"}, owner, {**owner, "controller": True}]
    status, made, warnings = await send(http, "POST", MAPS, {"metadata": {"name": "a", "ownerReferences": owners}})
    assert (status, made["metadata"]["ownerReferences"]) == (201, [owners[0], owners[1], owners[3]])
    (warning,) = warnings
    assert ".metadata.ownerReferences contains duplicate entries; API server dedups" in warning
    assert "duplicate UID(s) observed: u" in warning
    patch = {"metadata": {"ownerReferences": [owner, owner]}}
    status, found, warnings = await send(http, "PATCH", f"{MAPS}/a", patch, MERGE)
    assert (status, found["metadata"]["ownerReferences"]) == (200, [owner])
    assert "contains duplicate entries after mutating admission happens;" in warnings[0]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        pytest.param({"f:data": {}, "x:y": {}}, True, id="an element of another time"),
        pytest.param({"bad": {}}, False, id="no element"),
        pytest.param({'k:{"a"': {}}, False, id="a broken key"),
        pytest.param({"i:x": {}}, False, id="a broken position"),
    ],
)
async def test_managed_fields_that_cannot_be_read_count_as_none(
    http: aiohttp.ClientSession, fields: Object, *, kept: bool
) -> None:
    entry = {"manager": "me", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}
    body = {"metadata": {"name": "a", "managedFields": [entry]}, "data": {"a": "1"}}
    status, made, _ = await send(http, "POST", MAPS, body)
    managers = [entry["manager"] for entry in made["metadata"]["managedFields"]]
    assert (status, "me" in managers) == (201, kept)


@pytest.mark.parametrize(
    ("query", "code", "why"),
    [
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("continue=abc", 400, "invalid continue token: "),
        ("resourceVersion=99999999", 504, "Timeout: Too large resource version: "),
        ("resourceVersionMatch=Exact", 422, "ListOptions.meta.k8s.io "),
    ],
)
async def test_deletions_of_collections_take_the_options_of_lists(
    http: aiohttp.ClientSession, query: str, code: int, why: str
) -> None:
    await make(http, "a")
    status, found, _ = await send(http, "DELETE", f"{MAPS}?{query}")
    assert (status, found["message"][: len(why)]) == (code, why)
    assert (await send(http, "GET", f"{MAPS}/a"))[0] == 200


async def test_a_limit_ends_the_deletion_of_a_collection(http: aiohttp.ClientSession) -> None:
    for name in ("a", "b", "c"):
        await make(http, name)
    status, found, _ = await send(http, "DELETE", f"{MAPS}?limit=2")
    assert (status, [item["metadata"]["name"] for item in found["items"]]) == (200, ["a", "b"])
    assert found["metadata"]["remainingItemCount"] == 1
    assert found["metadata"]["continue"]
    _, left, _ = await send(http, "GET", MAPS)
    assert [item["metadata"]["name"] for item in left["items"]] == ["c"]


async def test_who_cascades_in_the_old_way_learns_that_it_takes_time(http: aiohttp.ClientSession) -> None:
    await make(http, "a", finalizers=["a.io/b"])
    await make(http, "b")
    old = {"orphanDependents": False}
    assert (await send(http, "DELETE", f"{MAPS}/a", {"propagationPolicy": "Background"}))[0] == 200
    assert (await send(http, "DELETE", f"{MAPS}/a", old))[0] == 202
    assert (await send(http, "DELETE", f"{MAPS}/a?orphanDependents=0"))[0] == 202
    assert (await send(http, "DELETE", f"{MAPS}/b", old))[0] == 200


async def test_options_of_a_deletion_may_be_of_any_group(http: aiohttp.ClientSession) -> None:
    await make(http, "a")
    options = {"kind": "DeleteOptions", "apiVersion": "apps/v1", "dryRun": ["All"]}
    assert (await send(http, "DELETE", f"{MAPS}/a", options))[0] == 200
    assert (await send(http, "GET", f"{MAPS}/a"))[0] == 200


SCALE = "/apis/apps/v1/namespaces/x/replicasets/r/scale"
APPLY = "application/apply-patch+yaml"


@pytest.mark.parametrize(
    ("method", "query", "body", "media_type", "code", "why"),
    [
        pytest.param(
            "PUT", "", {"spec": {"replicas": 1}}, "application/json", 400,
            "the name of the object (r based on URL) was undeterminable: name must be provided", id="no metadata",
        ),
        pytest.param(
            "PATCH", "?fieldValidation=Strict", {"spec": {"bogus": 1}}, MERGE, 422,
            'strict decoding error: unknown field "spec.bogus"', id="an unknown field",
        ),
        pytest.param(
            "PATCH", "", {"spec": {"replicas": "x"}}, "application/strategic-merge-patch+json", 422,
            "unrecognized type: int32", id="a misfit",
        ),
        pytest.param("PATCH", "", {"kind": "Pod"}, MERGE, 422, 'no kind "Pod" is registered', id="another type"),
        pytest.param(
            "PATCH", "?fieldManager=m", {"apiVersion": "v1", "kind": "Scale"}, APPLY, 400,
            "invalid object type: /v1, Kind=Scale", id="an applied object of another type",
        ),
        pytest.param(
            "PATCH", "?fieldManager=m", {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"bogus": 1}}, APPLY,
            500, ".spec.bogus: field not declared in schema", id="an applied field that is unknown",
        ),
    ],
)  # fmt: skip
async def test_scales_that_are_refused(
    http: aiohttp.ClientSession, method: str, query: str, body: Object, media_type: str, code: int, why: str
) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await send(http, "POST", SCALE.removesuffix("/r/scale"), {"metadata": {"name": "r"}, "spec": spec})
    assert made[0] == 201, made
    status, found, _ = await send(http, method, SCALE + query, body, media_type)
    assert status == code
    assert why in found["message"]


async def test_scales_do_not_lose_against_other_writers(http: aiohttp.ClientSession) -> None:
    """A scale that names no resourceVersion, or patches, is made again on what others wrote in the meantime."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = SCALE.removesuffix("/scale")
    made = await send(http, "POST", path.removesuffix("/r"), {"metadata": {"name": "r"}, "spec": spec})
    replaced = {"metadata": {"name": "r", "namespace": "x"}, "spec": {"replicas": 2}}
    writes = [send(http, "PATCH", SCALE, {"spec": {"replicas": number}}, MERGE) for number in range(3, 15)]
    writes += [send(http, "PUT", SCALE, {**replaced, "spec": {"replicas": number}}) for number in range(15, 27)]
    answers = await asyncio.gather(*writes)
    assert [(status, found.get("message")) for status, found, _ in answers] == [(200, None)] * len(writes)
    old = {**replaced, "metadata": {**replaced["metadata"], "resourceVersion": made[1]["metadata"]["resourceVersion"]}}
    assert (await send(http, "PUT", SCALE, old))[0] == 409


async def test_options_of_an_eviction_are_checked(http: aiohttp.ClientSession) -> None:
    body = {"metadata": {"name": "p"}, "deleteOptions": {"propagationPolicy": "Nope"}}
    status, found, _ = await send(http, "POST", "/api/v1/namespaces/x/pods/p/eviction", body)
    assert (status, found["details"]["kind"]) == (422, "DeleteOptions")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        pytest.param({"activeDeadlineSeconds": 1.5}, "cannot convert float64 to int64", id="a fraction"),
        pytest.param({"overhead": {"cpu": "abc"}}, "quantities must match the regular expression", id="no quantity"),
        pytest.param({"overhead": {"cpu": {}}}, ".spec.overhead.cpu: expected any scalar, got &{map[]}", id="a map"),
    ],
)
async def test_applied_values_fit_their_types(http: aiohttp.ClientSession, spec: Object, why: str) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    status, found, _ = await send(http, "PATCH", "/api/v1/namespaces/x/pods/p?fieldManager=m", body, APPLY)
    assert status == 500
    assert why in found["message"]
    assert "(/p; /v1, Kind=Pod)" in found["message"]


async def test_applied_nulls_are_zero_in_maps_of_text(http: aiohttp.ClientSession) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"l": None}}}
    status, found, _ = await send(http, "PATCH", f"{MAPS}/a?fieldManager=m", body, APPLY)
    assert (status, found["metadata"]["labels"]) == (201, {"l": ""})


@pytest.mark.parametrize(
    ("query", "why"),
    [("dryRun=", '[""]'), ("dryRun=all", '["all"]'), ("dryRun=All&dryRun=None", '["All","None"]')],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_there_is_one_kind_of_dry_run(http: aiohttp.ClientSession, method: str, query: str, why: str) -> None:
    await make(http, "a")
    path, body = (MAPS, {"metadata": {"name": "b"}}) if method == "POST" else (f"{MAPS}/a", None)
    status, found, _ = await send(http, method, f"{path}?{query}", body)
    assert (status, found["details"]["causes"][0]["field"]) == (422, "dryRun")
    assert f"Unsupported value: {why}: supported values: " in found["message"]


async def test_a_table_of_what_is_not_stored_has_no_revision(http: aiohttp.ClientSession) -> None:
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with http.post(f"{MAPS}?dryRun=All", json={"metadata": {"name": "a"}}, headers=headers) as answer:
        assert (answer.status, (await answer.json())["metadata"]) == (201, {})


@pytest.mark.parametrize(
    ("path", "made", "labels", "finalizers"),
    [
        pytest.param("/api/v1/namespaces/x/events", {"involvedObject": {"namespace": "x"}}, 1, 0, id="once"),
        pytest.param("/apis/coordination.k8s.io/v1/namespaces/x/leases", {}, 2, 0, id="usual, without the core"),
        pytest.param("/apis/storage.k8s.io/v1/csinodes", {"spec": {"drivers": []}}, 2, 1, id="as new"),
        pytest.param("/apis/storage.k8s.io/v1/storageclasses", {"provisioner": "p.io"}, 3, 2, id="as new and changed"),
        pytest.param("/apis/rbac.authorization.k8s.io/v1/clusterroles", {"rules": []}, 4, 3, id="as new, twice"),
    ],
)
async def test_errors_of_changed_metadata_are_told_as_often_as_the_kind_looks(
    http: aiohttp.ClientSession, path: str, made: Object, labels: int, finalizers: int
) -> None:
    assert (await send(http, "POST", path, {"metadata": {"name": "m"}, **made}))[0] == 201
    wrong = {"metadata": {"labels": {"a b": "c"}, "finalizers": ["short"]}}
    status, found, _ = await send(http, "PATCH", f"{path}/m", wrong, MERGE)
    told = [cause["field"] for cause in found["details"]["causes"]]
    assert (status, told.count("metadata.labels"), told.count("metadata.finalizers[0]")) == (422, labels, finalizers)
