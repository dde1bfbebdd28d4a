"""Custom resources over HTTP: rules, conflicts of names, versions, terminating definitions."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from minikube_py.machinery.objects import Object

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {"size": {"type": "integer", "maximum": 10}, "color": {"type": "string", "default": "red"}},
    "x-kubernetes-validations": [{"rule": "self.size < 9 || self.color == 'blue'", "message": "big must be blue"}],
}


def definition(plural: str = "hats", kind: str = "Hat", **names: Any) -> Object:
    schema = {"type": "object", "properties": {"spec": SPEC}}
    version: Object = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    version["selectableFields"] = [{"jsonPath": ".spec.color"}]
    old = {**version, "name": "v1beta1", "storage": False, "deprecated": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, **names},
            "versions": [version, old],
        },
    }


def hat(name: str = "h", **spec: Any) -> Object:
    return {"apiVersion": "example.com/v1", "kind": "Hat", "metadata": {"name": name}, "spec": spec}


HATS = "/apis/example.com/v1/namespaces/x/hats"


async def conditions_of(http: aiohttp.ClientSession, name: str) -> dict[str, tuple[str, str, str]]:
    async with http.get(f"{CRDS}/{name}") as answer:
        status = (await answer.json()).get("status") or {}
    found = status.get("conditions") or ()
    return {item["type"]: (item["status"], item["reason"], item["message"]) for item in found}


async def until(http: aiohttp.ClientSession, name: str, type: str, status: str) -> tuple[str, str, str]:
    async with asyncio.timeout(30):
        while True:
            found = (await conditions_of(http, name)).get(type)
            if found is not None and found[0] == status:
                return found
            await asyncio.sleep(0.005)


async def make(http: aiohttp.ClientSession, crd: Object) -> None:
    async with http.post(CRDS, json=crd) as answer:
        assert answer.status == 201, await answer.text()


async def test_a_definition_is_served_at_once(http: aiohttp.ClientSession) -> None:
    """At the latest when its status says so; how long that takes is for a benchmark to say (48 ms were measured)."""
    await make(http, definition())
    await until(http, "hats.example.com", "Established", "True")
    async with http.get(HATS) as answer:
        assert answer.status == 200
    async with http.get("/apis/example.com/v1") as answer:
        rows = (await answer.json())["resources"]
    assert rows[0]["verbs"][:3] == ["delete", "deletecollection", "get"]


async def test_rules_are_enforced(http: aiohttp.ClientSession) -> None:
    await make(http, definition())
    await until(http, "hats.example.com", "Established", "True")
    for spec, told in (
        ({"size": 9}, 'Hat.example.com "h" is invalid: spec: Invalid value: "object": big must be blue'),
        (
            {"size": 11, "color": "blue"},
            'Hat.example.com "h" is invalid: spec.size: Invalid value: 11: spec.size in body should be less than or '
            "equal to 10",
        ),
        (
            {},
            'Hat.example.com "h" is invalid: [spec.size: Required value, <nil>: Invalid value: null: some validation '
            "rules were not checked because the object was invalid; correct the existing errors to complete "
            "validation]",
        ),
    ):
        async with http.post(HATS, json=hat(**spec)) as answer:
            assert (answer.status, (await answer.json())["message"]) == (422, told)
    async with http.post(HATS, json=hat(size=9, color="blue")) as answer:
        assert answer.status == 201
    headers = {"Content-Type": "application/merge-patch+json"}
    async with http.patch(f"{HATS}/h", data=b'{"spec":{"color":"red"}}', headers=headers) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (422, "Invalid")


async def test_what_custom_kinds_answer(http: aiohttp.ClientSession) -> None:
    await make(http, definition())
    await until(http, "hats.example.com", "Established", "True")
    async with http.post(HATS, json=hat(size=1)) as answer:
        assert answer.status == 201
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    async with http.patch(f"{HATS}/h", data=b"{}", headers=headers) as answer:
        assert (answer.status, (await answer.json())["message"]) == (
            415,
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )
    async with http.get(f"{HATS}?fieldSelector=spec.color%3Dred") as answer:
        assert len((await answer.json())["items"]) == 1
    async with http.get(f"{HATS}?fieldSelector=spec.size%3D1") as answer:
        assert (answer.status, (await answer.json())["message"]) == (400, "field label not supported: spec.size")
    async with http.get(HATS.replace("v1", "v1beta1")) as answer:
        assert answer.headers["Warning"] == '299 - "example.com/v1beta1 Hat is deprecated"'
    async with http.get(f"{HATS}/h/status") as answer:
        assert (await answer.json())["message"] == 'hats.example.com "h" not found'
    for path in ("/apis/example.com/v9", "/apis/example.com/v9/namespaces/x/hats", "/apis/example.com/v1/nope"):
        async with http.get(path) as answer:
            assert (answer.status, await answer.text()) == (404, "404 page not found\n")


async def test_names_are_used_once(http: aiohttp.ClientSession) -> None:
    await make(http, definition(shortNames=["ht"]))
    await until(http, "hats.example.com", "Established", "True")
    await make(http, definition("caps", "Hat", shortNames=["ht"]))
    found = await until(http, "caps.example.com", "NamesAccepted", "False")
    assert found[1:] == ("ListKindConflict", '"HatList" is already in use')
    conditions = await conditions_of(http, "caps.example.com")
    assert conditions["Established"] == ("False", "NotAccepted", "not all names are accepted")
    async with http.get(f"{CRDS}/caps.example.com") as answer:
        accepted = (await answer.json())["status"]["acceptedNames"]
    assert accepted == {"plural": "caps", "kind": ""}
    async with http.delete(f"{CRDS}/hats.example.com") as answer:
        assert answer.status == 200
    await until(http, "caps.example.com", "Established", "True")


async def test_lists_are_called_as_the_definition_says(http: aiohttp.ClientSession) -> None:
    await make(http, definition(listKind="Rack"))
    await until(http, "hats.example.com", "Established", "True")
    async with http.get(HATS) as answer:
        assert (await answer.json())["kind"] == "Rack"
    headers, wanted = {"Content-Type": "application/merge-patch+json"}, {"spec": {"names": {"listKind": "Shelf"}}}
    async with http.patch(f"{CRDS}/hats.example.com", json=wanted, headers=headers) as answer:
        assert answer.status == 200
    async with asyncio.timeout(30):
        while True:
            async with http.get(HATS, headers={"Accept": "application/yaml"}) as answer:
                if "kind: Shelf" in await answer.text():
                    return
            await asyncio.sleep(0.02)


async def test_a_definition_takes_its_objects_along(http: aiohttp.ClientSession) -> None:
    await make(http, definition())
    await until(http, "hats.example.com", "Established", "True")
    body = hat(size=1)
    body["metadata"]["finalizers"] = ["example.com/hold"]
    async with http.post(HATS, json=body) as answer:
        assert answer.status == 201
    async with http.delete(f"{CRDS}/hats.example.com") as answer:
        assert answer.status == 200
    found = await until(http, "hats.example.com", "Terminating", "True")
    assert found[1:] == ("InstanceDeletionInProgress", "CustomResource deletion is in progress")
    async with http.post(HATS, json=hat("other", size=1)) as answer:
        told = "create not allowed while custom resource definition is terminating"
        found_error = await answer.json()
        assert (answer.status, found_error["message"]) == (405, told)
        assert found_error["details"] == {"group": "example.com", "kind": "hats"}
    headers = {"Content-Type": "application/merge-patch+json"}
    async with http.patch(f"{HATS}/h", data=b'{"metadata":{"finalizers":null}}', headers=headers) as answer:
        assert answer.status == 200
    async with asyncio.timeout(30):
        while True:
            async with http.get(f"{CRDS}/hats.example.com") as answer:
                if answer.status == 404:
                    return
            await asyncio.sleep(0.02)


async def test_costly_rules_do_not_stop_the_server(http: aiohttp.ClientSession) -> None:
    crd = definition()
    rule = {"rule": "!has(self.many) || self.many.all(a, self.many.all(b, a + b > 0))", "message": "all above zero"}
    for version in crd["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        many = {"type": "array", "maxItems": 300, "items": {"type": "integer"}}
        version["schema"] = {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {
                    "spec": {
                        **spec,
                        "properties": {**spec["properties"], "many": many},
                        "x-kubernetes-validations": [rule],
                    }
                },
            }
        }
    await make(http, crd)
    await until(http, "hats.example.com", "Established", "True")
    async with http.post(HATS, json=hat(size=1, many=[1] * 300)) as answer:
        assert answer.status == 201
    headers = {"Content-Type": "application/merge-patch+json"}
    patch = {"spec": {"many": [*([1] * 299), -1]}}
    async with http.patch(f"{HATS}/h", json=patch, headers=headers) as answer:
        told = 'Hat.example.com "h" is invalid: spec: Invalid value: "object": all above zero'
        assert (answer.status, (await answer.json())["message"]) == (422, told)
