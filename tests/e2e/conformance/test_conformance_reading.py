"""sig-api-machinery conformance: watchers, chunking, tables, discovery, the server's version."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from cluster import Cluster, wait_until
from conformance_api import MERGE, Api, Refused, crd

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def test_watchers_observe_add_update_and_delete(api: Api, core: str) -> None:
    """Several watchers see what matches their selectors, and nothing else."""
    maps = f"{core}/configmaps"
    with (
        api.watch(maps, labelSelector="watch=a") as only_a,
        api.watch(maps, labelSelector="watch=b") as only_b,
        api.watch(maps, labelSelector="watch in (a,b)") as both,
    ):
        for name in ("a", "b"):
            api("POST", maps, config_map(name, watch=name))
            api("PATCH", f"{maps}/{name}", {"data": {"mutation": "1"}}, media_type=MERGE)
            api("DELETE", f"{maps}/{name}")
        for following, names in ((only_a, "a"), (only_b, "b"), (both, "ab")):
            for name in names:
                seen = [following() for _ in range(3)]
                assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED"]
                assert {obj["metadata"]["name"] for _, obj in seen} == {name}


def test_watch_starts_at_a_version_and_restarts_at_the_last_one_seen(api: Api, core: str) -> None:
    maps = f"{core}/configmaps"
    api("POST", maps, config_map("c", w="1"))
    first = api("PATCH", f"{maps}/c", {"data": {"n": "1"}}, media_type=MERGE)
    api("PATCH", f"{maps}/c", {"data": {"n": "2"}}, media_type=MERGE)
    with api.watch(maps, labelSelector="w=1", resourceVersion=first["metadata"]["resourceVersion"]) as following:
        kind, seen = following()
        assert (kind, seen["data"]) == ("MODIFIED", {"n": "2"})
    api("PATCH", f"{maps}/c", {"data": {"n": "3"}}, media_type=MERGE)
    api("DELETE", f"{maps}/c")
    with api.watch(maps, labelSelector="w=1", resourceVersion=seen["metadata"]["resourceVersion"]) as following:
        (third, changed), (fourth, _) = following(), following()
        assert (third, changed["data"], fourth) == ("MODIFIED", {"n": "3"}, "DELETED")


def test_an_object_that_leaves_the_selector_is_deleted_for_the_watch(api: Api, core: str) -> None:
    maps = f"{core}/configmaps"

    def patch(label: str, n: str) -> None:
        api("PATCH", f"{maps}/c", {"metadata": {"labels": {"w": label}}, "data": {"n": n}}, media_type=MERGE)

    with api.watch(maps, labelSelector="w=in") as following:
        api("POST", maps, config_map("c", w="in"))
        patch("out", "1")
        patch("out", "2")
        patch("in", "3")
        patch("in", "4")
        seen = [following() for _ in range(4)]
    assert [kind for kind, _ in seen] == ["ADDED", "DELETED", "ADDED", "MODIFIED"]
    assert [obj.get("data", {}).get("n") for _, obj in seen] == [None, None, "3", "4"]


def test_concurrent_watches_see_the_same_order(api: Api, core: str) -> None:
    maps = f"{core}/configmaps"
    start = api("GET", maps)["metadata"]["resourceVersion"]
    for number in range(12):
        api("POST", maps, config_map(f"c{number}", w="1"))
        if number % 3 == 0:
            api("DELETE", f"{maps}/c{number}")

    def versions(since: str, count: int) -> list[str]:
        with api.watch(maps, labelSelector="w=1", resourceVersion=since) as following:
            return [following()[1]["metadata"]["resourceVersion"] for _ in range(count)]

    order = versions(start, 16)
    assert order == sorted(order, key=int)
    for position in range(0, 15, 3):
        assert versions(order[position], 15 - position) == order[position + 1 :]


def test_chunks(api: Api, core: str) -> None:
    """Pages of at most the limit, with the rest counted, of one resourceVersion; then everything at once."""
    template = {"spec": {"containers": [{"name": "c", "image": "none.example.com/x"}]}}
    for number in range(40):
        api("POST", f"{core}/podtemplates", {"metadata": {"name": f"t{number:04}"}, "template": template})
    names: list[str] = []
    token, version = "", ""
    while True:
        page = api("GET", f"{core}/podtemplates?limit=17" + (f"&continue={quote(token)}" if token else ""))
        assert len(page["items"]) <= 17
        names += [item["metadata"]["name"] for item in page["items"]]
        version = version or page["metadata"]["resourceVersion"]
        assert page["metadata"]["resourceVersion"] == version
        assert page["metadata"].get("remainingItemCount", 0) == 40 - len(names)
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"t{number:04}" for number in range(40)]
    assert len(api("GET", f"{core}/podtemplates?limit=0")["items"]) == 40


def test_chunks_after_a_compaction(own_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """A token that is too old is refused with one that goes on, from the same key, at a newer resourceVersion."""
    cluster = own_cluster("--etcd-listen=127.0.0.1:2379", "--disable-agent", "--disable-scheduler")
    cluster.start(wait=False)
    wait_until("the API answers", lambda: cluster.kubeconfig.exists() and health(cluster) == "ok")
    api = Api(cluster, tmp_path)
    templates = "/api/v1/namespaces/default/podtemplates"
    wait_until("the namespace", lambda: not api.gone("/api/v1/namespaces/default"))
    template = {"spec": {"containers": [{"name": "c", "image": "none.example.com/x"}]}}
    for number in range(40):
        api("POST", templates, {"metadata": {"name": f"t{number:04}"}, "template": template})
    first = api("GET", f"{templates}?limit=17")
    assert (len(first["items"]), first["metadata"]["remainingItemCount"]) == (17, 23)
    late = api("POST", templates, {"metadata": {"name": "t0020-late"}, "template": template})
    compact(cluster, tmp_path, int(late["metadata"]["resourceVersion"]))
    token = first["metadata"]["continue"]
    with pytest.raises(Refused) as refused:
        api("GET", f"{templates}?limit=17&continue={quote(token)}")
    assert (refused.value.code, refused.value.status["reason"]) == (410, "Expired")
    names, token = [item["metadata"]["name"] for item in first["items"]], refused.value.status["metadata"]["continue"]
    version = ""
    while token:
        page = api("GET", f"{templates}?limit=17&continue={quote(token)}")
        names += [item["metadata"]["name"] for item in page["items"]]
        assert page["metadata"].get("remainingItemCount", 0) == 41 - len(names)
        version = version or page["metadata"]["resourceVersion"]
        assert page["metadata"]["resourceVersion"] == version != first["metadata"]["resourceVersion"]
        token = page["metadata"].get("continue", "")
    assert names == sorted([*(f"t{number:04}" for number in range(40)), "t0020-late"])


def health(cluster: Cluster) -> str:
    return cluster.kubectl("get", "--raw", "/readyz", check=False)


def compact(cluster: Cluster, folder: Path, revision: int) -> None:
    """Let the datastore forget what was before a revision, as an administrator does with etcdctl."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    data = {"cacert": server["certificate-authority-data"], "cert": user["client-certificate-data"],
            "key": user["client-key-data"]}  # fmt: skip
    options = []
    for name, text in data.items():
        (folder / name).write_bytes(base64.b64decode(text))
        options.append(f"--{name}={folder / name}")
    said = cluster.run(
        "env", "ETCDCTL_API=3", "etcdctl", "--endpoints=https://127.0.0.1:2379", *options, "compact", str(revision)
    )
    assert f"compacted revision {revision}" in said


def test_table_of_what_has_none(api: Api) -> None:
    """A backend without metadata answers 406 to a request for a Table."""
    body = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert api.exchange("POST", path, body, accept=table)[0] == 406
    code, _, answer = api.exchange("POST", path, body, accept=f"{table},application/json")
    assert (code, json.loads(answer)["kind"]) == (201, "SelfSubjectAccessReview")


def test_server_version(api: Api) -> None:
    found = api("GET", "/version")
    assert found["major"].isdigit() and found["minor"].isdigit()


def test_discovery_of_every_group(api: Api) -> None:
    """Each group has a preferred version among its versions, and each version a list with its name."""
    groups = api("GET", "/apis")["groups"]
    assert len(groups) > 15
    for found in groups:
        versions = [version["groupVersion"] for version in found["versions"]]
        assert found["preferredVersion"]["groupVersion"] in versions
        assert api("GET", f"/apis/{found['name']}")["preferredVersion"] == found["preferredVersion"]
        for version in versions:
            listed = api("GET", f"/apis/{version}")
            assert listed["groupVersion"] == version and listed["resources"]


@pytest.mark.parametrize("accept", [AGGREGATED, AGGREGATED.replace("v=v2", "v=v2beta1") + f",{AGGREGATED}"])
def test_aggregated_discovery(api: Api, install: Any, group: str, accept: str) -> None:
    """Built-in resources, and a custom one as soon as it is served."""

    def resources(path: str) -> set[tuple[str, str, str]]:
        code, fields, body = api.exchange("GET", path, accept=accept)
        assert code == 200 and "as=APIGroupDiscoveryList" in fields["Content-Type"], fields
        return {
            (item["metadata"].get("name", ""), version["version"], resource["resource"])
            for item in json.loads(body)["items"]
            for version in item["versions"]
            for resource in version["resources"]
        }

    assert ("", "v1", "pods") in resources("/api")
    assert ("apps", "v1", "deployments") in resources("/apis")
    install(crd(group, "things", "Thing"))
    wait_until("discovery", lambda: (group, "v1", "things") in resources("/apis"), every=0.02)
