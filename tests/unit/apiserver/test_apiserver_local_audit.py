"""Audit events of requests that components make inside the server's process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from open_server import Everybody, open_server

from minikube_py.client.types import Client, DeleteOptions, PatchType, WriteOptions
from minikube_py.components.apiserver.audited_client import uri
from minikube_py.components.apiserver.local_audit import NOT_ASKED
from minikube_py.components.apiserver.local_client import LocalClient
from minikube_py.components.apiserver.server import ApiServer
from minikube_py.components.apiserver.types import AUTHENTICATED, AdmissionRequest, Attributes, Decision, UserInfo
from minikube_py.machinery.errors import ApiError, forbidden
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CLUSTER_ROLES, CONFIG_MAPS, DEPLOYMENTS, NODES, Resource

LOOP = UserInfo("system:serviceaccount:kube-system:loop", ("system:serviceaccounts", AUTHENTICATED))
AGENT = "kube-controller-manager"
RULES = f'- {{level: %s, users: ["{LOOP.name}"]}}'


class Judges(Everybody):
    """RBAC knows of ConfigMaps alone; admission leaves an annotation, refuses "bad" and breaks on "broken"."""

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        if attributes.resource == "configmaps":
            return Decision.ALLOW, "RBAC: allowed"
        return Decision.NO_OPINION, ""

    async def admit(self, request: AdmissionRequest) -> None:
        request.audit_annotations["plugin.example.com/seen"] = "yes"
        if request.name == "bad":
            raise forbidden("", "configmaps", "bad", "it is bad")
        if request.name == "broken":
            raise RuntimeError("the plugin is broken")


def component(api: ApiServer) -> Client:
    return api.client(LOOP, user_agent=AGENT)


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def events(folder: Path, stage: str = "") -> list[dict[str, Any]]:
    found = [orjson.loads(line) for line in (folder / "audit.log").read_bytes().splitlines()]
    return [event for event in found if stage in ("", event["stage"])]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_write_leaves_the_events_that_a_request_from_outside_leaves(tmp_path: Path) -> None:
    async with open_server(tmp_path, everybody=Judges(), audit_rules=RULES % "Metadata") as api:
        await component(api).create(CONFIG_MAPS, config_map("one", a="b"), options=WriteOptions(field_manager="loop"))
        received, complete = events(tmp_path)
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    assert received["auditID"] == complete["auditID"]
    assert complete["requestURI"] == "/api/v1/namespaces/default/configmaps?fieldManager=loop"
    assert complete["verb"] == "create"
    assert complete["user"] == {"username": LOOP.name, "groups": ["system:serviceaccounts", "system:authenticated"]}
    assert complete["sourceIPs"] == ["127.0.0.1"]
    assert complete["userAgent"] == AGENT
    assert complete["objectRef"] == {
        "resource": "configmaps", "namespace": "default", "name": "one", "apiVersion": "v1",
    }  # fmt: skip
    assert complete["responseStatus"] == {"metadata": {}, "code": 201}
    assert complete["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "RBAC: allowed",
        "plugin.example.com/seen": "yes",
    }
    assert "requestObject" not in complete and "responseObject" not in complete


async def everything(client: Client) -> None:
    """Each verb once."""
    await client.create(CONFIG_MAPS, config_map("one", a="b"))
    made = await client.get(CONFIG_MAPS, "one", "default")
    await client.update(CONFIG_MAPS, {**made, "data": {"a": "c"}})
    await client.patch(CONFIG_MAPS, "one", {"data": {"a": "d"}}, "default")
    await client.list(CONFIG_MAPS, "default", label_selector="x=y", limit=5)
    await client.delete(CONFIG_MAPS, "one", "default", options=DeleteOptions(propagation_policy="Background"))
    await client.delete_collection(CONFIG_MAPS, "default", field_selector="metadata.name=two")


async def test_every_verb_has_its_request_line_and_its_bodies(tmp_path: Path) -> None:
    async with open_server(tmp_path, everybody=Judges(), audit_rules=RULES % "RequestResponse") as api:
        await everything(component(api))
        found = events(tmp_path, "ResponseComplete")
    base = "/api/v1/namespaces/default/configmaps"
    assert [(event["verb"], event["requestURI"]) for event in found] == [
        ("create", base),
        ("get", f"{base}/one"),
        ("update", f"{base}/one"),
        ("patch", f"{base}/one"),
        ("list", f"{base}?labelSelector=x%3Dy&limit=5"),
        ("delete", f"{base}/one"),
        ("deletecollection", f"{base}?fieldSelector=metadata.name%3Dtwo"),
    ]
    created, got, updated, patched, listed, deleted, collected = found
    assert created["requestObject"]["data"] == created["responseObject"]["data"] == {"a": "b"}
    assert "requestObject" not in got and got["responseObject"]["data"] == {"a": "b"}
    assert updated["objectRef"]["uid"] == created["responseObject"]["metadata"]["uid"]
    assert patched["requestObject"] == {"data": {"a": "d"}}
    assert (listed["responseObject"]["kind"], listed["responseObject"]["items"]) == ("ConfigMapList", [])
    assert deleted["requestObject"] == {
        "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
    }  # fmt: skip
    assert collected["responseObject"]["status"] == "Success"


async def test_a_body_is_shown_as_it_was_sent(tmp_path: Path) -> None:
    async with open_server(tmp_path, everybody=Judges(), audit_rules=RULES % "Request", audit_mode="batch") as api:
        sent = config_map("one", a="b")
        await component(api).create(CONFIG_MAPS, sent)
        sent["data"]["a"] = "changed afterwards"
    (complete,) = events(tmp_path, "ResponseComplete")
    assert complete["requestObject"]["data"] == {"a": "b"}
    assert "responseObject" not in complete


async def test_failures_say_what_became_of_the_request(tmp_path: Path) -> None:
    async with open_server(tmp_path, everybody=Judges(), audit_rules=RULES % "Metadata") as api:
        client = component(api)
        with pytest.raises(ApiError, match="it is bad"):
            await client.create(CONFIG_MAPS, config_map("bad"))
        with pytest.raises(ApiError, match="not found"):
            await client.get(CONFIG_MAPS, "absent", "default")
        with pytest.raises(RuntimeError, match="broken"):
            await client.create(CONFIG_MAPS, config_map("broken"))
        found = [event for event in events(tmp_path) if event["stage"] != "RequestReceived"]
    refused, missing, panicked = found
    assert (refused["responseStatus"]["code"], refused["responseStatus"]["reason"]) == (403, "Forbidden")
    assert missing["responseStatus"]["message"] == 'configmaps "absent" not found'
    assert panicked["stage"] == "Panic"
    assert "the plugin is broken" in panicked["responseStatus"]["message"]


async def test_a_request_that_is_given_up_has_its_end(tmp_path: Path) -> None:
    class Slow(Judges):
        async def admit(self, request: AdmissionRequest) -> None:
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    async with open_server(tmp_path, everybody=Slow(), audit_rules=RULES % "Metadata") as api:
        task = asyncio.create_task(component(api).create(CONFIG_MAPS, config_map("one")))
        await begun.wait()
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()
    (complete,) = events(tmp_path, "ResponseComplete")
    assert complete["responseStatus"]["code"] == 499


async def test_a_watch_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    async with open_server(tmp_path, everybody=Judges(), audit_rules=RULES % "RequestResponse") as api:
        client = component(api)
        async with client.watch(CONFIG_MAPS, "default") as stream:
            await client.create(CONFIG_MAPS, config_map("one"))
            assert (await anext(stream)).object["metadata"]["name"] == "one"
        with pytest.raises(ApiError):
            async with client.watch(CONFIG_MAPS, "default", resource_version="999999999"):
                pass
    watched = [event for event in events(tmp_path) if event["verb"] == "watch"]
    assert [event["stage"] for event in watched] == [
        "RequestReceived", "ResponseStarted", "ResponseComplete", "RequestReceived", "ResponseComplete",
    ]  # fmt: skip
    assert [event["responseStatus"]["code"] for event in watched if "responseStatus" in event] == [200, 200, 504]


async def test_an_informer_is_one_list_and_one_watch(tmp_path: Path) -> None:
    async with open_server(tmp_path, everybody=Judges(), audit_rules=RULES % "Metadata") as api:
        for _ in range(3):
            component(api).informer(CONFIG_MAPS, "default", label_selector="a=b")
        component(api).informer(NODES)
        await until(lambda: len(events(tmp_path, "ResponseStarted")) == 2)
    path = "/api/v1/namespaces/default/configmaps?labelSelector=a%3Db"
    found = events(tmp_path)
    assert [(event["verb"], event["stage"], event["requestURI"]) for event in found] == [
        ("list", "RequestReceived", path),
        ("list", "ResponseComplete", path),
        ("watch", "RequestReceived", f"{path}&watch=true"),
        ("watch", "ResponseStarted", f"{path}&watch=true"),
        ("list", "RequestReceived", "/api/v1/nodes"),
        ("list", "ResponseComplete", "/api/v1/nodes"),
        ("watch", "RequestReceived", "/api/v1/nodes?watch=true"),
        ("watch", "ResponseStarted", "/api/v1/nodes?watch=true"),
        ("watch", "ResponseComplete", f"{path}&watch=true"),
        ("watch", "ResponseComplete", "/api/v1/nodes?watch=true"),
    ]
    # Kubernetes' authorizer would refuse the nodes: the event does not claim that RBAC allowed it.
    reasons = [event["annotations"]["authorization.k8s.io/reason"] for event in events(tmp_path, "ResponseStarted")]
    assert reasons == ["RBAC: allowed", NOT_ASKED]


async def test_a_strict_log_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    async with open_server(tmp_path, audit_rules=RULES % "Metadata", audit_mode="blocking-strict") as api:
        (tmp_path / "audit.log").unlink(missing_ok=True)
        (tmp_path / "audit.log").mkdir()
        with pytest.raises(ApiError, match="failed to write the audit log"):
            await component(api).create(CONFIG_MAPS, config_map("one"))
        (tmp_path / "audit.log").rmdir()
        await component(api).create(CONFIG_MAPS, config_map("one"))


async def test_the_policy_leaves_requests_out(tmp_path: Path) -> None:
    rules = "- {level: None, verbs: [get, list, watch]}\n- {level: Metadata, omitStages: [RequestReceived]}"
    async with open_server(tmp_path, audit_rules=rules) as api:
        await everything(component(api))
        mine = [event for event in events(tmp_path) if event["user"]["username"] == LOOP.name]
    assert [event["verb"] for event in mine] == ["create", "update", "patch", "delete", "deletecollection"]


async def test_without_a_policy_the_plain_client_is_used(tmp_path: Path) -> None:
    async with open_server(tmp_path) as api:
        assert type(component(api)) is LocalClient


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((NODES, None), "/api/v1/nodes"),
        ((DEPLOYMENTS, "a", "b", "scale"), "/apis/apps/v1/namespaces/a/deployments/b/scale"),
        ((DEPLOYMENTS, None), "/apis/apps/v1/deployments"),
        ((CLUSTER_ROLES, None, "system:node"), "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"),
        ((CLUSTER_ROLES, None, "a b%"), "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%20b%25"),
    ],
)
def test_request_lines(arguments: tuple[Resource, str | None], expected: str) -> None:
    assert uri(*arguments) == expected


async def test_patch_types_keep_their_bodies(tmp_path: Path) -> None:
    async with open_server(tmp_path, everybody=Judges(), audit_rules=RULES % "Request") as api:
        client = component(api)
        await client.create(CONFIG_MAPS, config_map("one", a="b"))
        operations = [{"op": "replace", "path": "/data/a", "value": "c"}]
        await client.patch(CONFIG_MAPS, "one", operations, "default", patch_type=PatchType.JSON)
        patched = events(tmp_path, "ResponseComplete")[-1]
    assert patched["requestObject"] == operations
