"""sig-api-machinery conformance: ResourceQuota counts what is there and refuses what is too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cluster import wait_until
from conformance_api import MERGE, Api, Refused

LABELS = {"app": "q"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "none.example.com/x"}]}}


def quota(api: Api, core: str, name: str, hard: Mapping[str, str], *scopes: str) -> None:
    """Create a quota and wait until its status has been calculated."""
    spec = {"hard": hard} | ({"scopes": list(scopes)} if scopes else {})
    api("POST", f"{core}/resourcequotas", {"metadata": {"name": name}, "spec": spec})
    wait_until("status", lambda: status(api, core, name).get("hard") == hard, every=0.05)


def status(api: Api, core: str, name: str) -> dict[str, Any]:
    return dict(api("GET", f"{core}/resourcequotas/{name}").get("status", {}))


def await_used(api: Api, core: str, name: str, wanted: Mapping[str, str]) -> None:
    def used() -> bool:
        found = status(api, core, name).get("used", {})
        return {key: found.get(key) for key in wanted} == wanted

    wait_until(f"{name} uses {wanted}", used, seconds=20, every=0.05)


def pod(name: str, requests: Mapping[str, str], limits: Mapping[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    resources = ({"requests": dict(requests)} if requests else {}) | ({"limits": dict(limits)} if limits else {})
    container = {"name": "c", "image": "none.example.com/x", "resources": resources}
    return {
        "metadata": {"name": name},
        # a gate: the pod stays as it is
        "spec": {"containers": [container], "schedulingGates": [{"name": "e2e.example.com/stay"}], **spec},
    }


OBJECTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "configmaps": ("core", "configmaps", {"data": {"a": "b"}}),
    "secrets": ("core", "secrets", {"stringData": {"a": "b"}}),
    "services": ("core", "services", {"spec": {"ports": [{"port": 80}]}}),
    "replicationcontrollers": ("core", "replicationcontrollers", {"spec": {"replicas": 0, "template": TEMPLATE}}),
    "count/replicasets.apps": (
        "apis/apps/v1", "replicasets",
        {"spec": {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("counted", OBJECTS)
def test_life_of_an_object(api: Api, core: str, namespace: str, counted: str) -> None:
    """Counted when created, one too many is refused, released when deleted."""
    where, plural, body = OBJECTS[counted]
    path = f"{core}/{plural}" if where == "core" else f"/{where}/namespaces/{namespace}/{plural}"
    before = len(api("GET", path)["items"])
    quota(api, core, "q", {counted: str(before + 1), "resourcequotas": "1"})
    await_used(api, core, "q", {counted: str(before), "resourcequotas": "1"})
    api("POST", path, {"metadata": {"name": "one"}, **body})
    await_used(api, core, "q", {counted: str(before + 1)})
    with pytest.raises(Refused, match="exceeded quota: q") as refused:
        api("POST", path, {"metadata": {"name": "two"}, **body})
    assert refused.value.code == 403
    api("DELETE", f"{path}/one")
    await_used(api, core, "q", {counted: str(before)})


def test_services_by_type(api: Api, core: str) -> None:
    quota(api, core, "q", {"services": "3", "services.nodeports": "1", "services.loadbalancers": "1"})

    def service(name: str, type: str) -> dict[str, Any]:
        spec: dict[str, Any] = {"type": type, "ports": [{"port": 80}]}
        return {"metadata": {"name": name}, "spec": spec}

    api("POST", f"{core}/services", service("a", "ClusterIP"))
    api("POST", f"{core}/services", service("b", "NodePort"))
    await_used(api, core, "q", {"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"})
    with pytest.raises(Refused, match="exceeded quota"):
        api("POST", f"{core}/services", service("c", "LoadBalancer"))
    for name in ("a", "b"):
        api("DELETE", f"{core}/services/{name}")
    await_used(api, core, "q", {"services": "0", "services.nodeports": "0"})


def test_life_of_a_pod(api: Api, core: str) -> None:
    extended = "example.com/dongle"
    hard = {
        "pods": "5", "cpu": "1", "memory": "500Mi", "requests.ephemeral-storage": "50Gi", f"requests.{extended}": "3",
    }  # fmt: skip
    quota(api, core, "q", hard)
    requests = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", extended: "2"}
    api("POST", f"{core}/pods", pod("one", requests, {extended: "2"}))
    used = {
        "pods": "1", "cpu": "500m", "memory": "252Mi", "requests.ephemeral-storage": "30Gi",
        f"requests.{extended}": "2",
    }  # fmt: skip
    await_used(api, core, "q", used)
    for name, more in (("cpu", {"cpu": "600m"}), ("dongle", {extended: "2"})):
        with pytest.raises(Refused, match="exceeded quota"):
            body = pod(name, {**requests, "cpu": "10m", "memory": "10Mi", "ephemeral-storage": "1Gi", **more})
            body["spec"]["containers"][0]["resources"]["limits"] = {extended: "2"}
            api("POST", f"{core}/pods", body)
    change = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]}}
    with pytest.raises(Refused) as refused:
        api("PATCH", f"{core}/pods/one", change, media_type="application/strategic-merge-patch+json")
    assert refused.value.code == 422
    await_used(api, core, "q", used)
    api("DELETE", f"{core}/pods/one?gracePeriodSeconds=0")
    await_used(api, core, "q", {"pods": "0", "cpu": "0", "memory": "0", f"requests.{extended}": "0"})


@pytest.mark.parametrize(
    ("scopes", "bodies"),
    [
        (
            ("BestEffort", "NotBestEffort"),
            (pod("x", {}), pod("x", {"cpu": "100m", "memory": "10Mi"}, {"cpu": "100m", "memory": "10Mi"})),
        ),
        (
            ("Terminating", "NotTerminating"),
            (
                pod("x", {"cpu": "100m"}, {"cpu": "200m"}, activeDeadlineSeconds=3600),
                pod("x", {"cpu": "100m"}, {"cpu": "200m"}),
            ),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else "pods",
)
def test_scopes(api: Api, core: str, scopes: tuple[str, str], bodies: tuple[dict[str, Any], dict[str, Any]]) -> None:
    for scope in scopes:
        quota(api, core, scope.lower(), {"pods": "5"}, scope)
    for mine, body in zip(scopes, bodies, strict=True):
        (other,) = set(scopes) - {mine}
        api("POST", f"{core}/pods", body)
        await_used(api, core, mine.lower(), {"pods": "1"})
        assert status(api, core, other.lower())["used"] == {"pods": "0"}
        api("DELETE", f"{core}/pods/x?gracePeriodSeconds=0")
        await_used(api, core, mine.lower(), {"pods": "0"})


def test_lifecycle_and_status(api: Api, core: str) -> None:
    """Create, list in all namespaces, patch, update, patch and update the status, delete the collection."""
    quota(api, core, "q", {"cpu": "500m", "memory": "500Mi"})
    path = f"{core}/resourcequotas/q"
    api("PATCH", path, {"metadata": {"labels": {"e2e": core[-6:]}}}, media_type=MERGE)
    assert len(api("GET", f"/api/v1/resourcequotas?labelSelector=e2e={core[-6:]}")["items"]) == 1
    found = api("GET", path)
    found["spec"]["hard"] = {"cpu": "1", "memory": "1Gi"}
    assert api("PUT", path, found)["spec"]["hard"] == {"cpu": "1", "memory": "1Gi"}
    wait_until("status follows", lambda: status(api, core, "q")["hard"] == {"cpu": "1", "memory": "1Gi"})
    before = api("GET", path)["spec"]
    other = {"cpu": "2", "memory": "2Gi"}
    body = {"status": {"hard": other}, "spec": {"hard": {"cpu": "9"}}}
    patched = api("PATCH", f"{path}/status", body, media_type=MERGE)
    assert (patched["status"]["hard"], patched["spec"]) == (other, before)
    wait_until("the controller puts it right", lambda: status(api, core, "q")["hard"] == before["hard"])
    assert api("GET", f"{path}/status")["status"]["hard"] == before["hard"]
    api("DELETE", f"{core}/resourcequotas?labelSelector=e2e={core[-6:]}")
    wait_until("gone", lambda: api.gone(path), every=0.02)
