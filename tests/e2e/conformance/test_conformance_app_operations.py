"""sig-apps, sig-auth, sig-scheduling and sig-instrumentation conformance: "API operations" of kinds, without pods."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import wait_until
from conformance_api import JSON_PATCH, STRATEGIC, Api, Refused
from conformance_workloads import merge, template, update
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = "2026-01-01T00:00:00Z"
MICRO = "2026-01-01T00:00:00.000000Z"


def certificate_request() -> str:
    """A PKCS#10 request of a client, in PEM and base64."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def spec_of(kind: str) -> dict[str, Any]:
    if kind == "cronjobs":
        inner = template({}, spec={"restartPolicy": "OnFailure"})
        return {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": inner}}}
    if kind == "poddisruptionbudgets":
        return {"minAvailable": 1, "selector": {"matchLabels": {"nothing": "here"}}}
    usages = ["digital signature", "key encipherment", "client auth"]
    return {"request": certificate_request(), "signerName": "example.com/e2e", "usages": usages}


@pytest.mark.parametrize(
    ("group", "kind", "type"),
    [
        ("batch", "cronjobs", "CronJob"),
        ("policy", "poddisruptionbudgets", "PodDisruptionBudget"),
        ("certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest"),
    ],
)
def test_api_operations(api: Api, namespace: str, group: str, kind: str, type: str) -> None:
    """Discovery, create, get, list (everywhere), watch, patch, update, delete, deletecollection; the status too."""
    version = f"{group}/v1"
    assert version in [each["groupVersion"] for g in api("GET", "/apis")["groups"] for each in g["versions"]]
    assert version in [each["groupVersion"] for each in api("GET", f"/apis/{group}")["versions"]]
    resources = {item["name"] for item in api("GET", f"/apis/{version}")["resources"]}
    assert {kind, f"{kind}/status"} <= resources
    everywhere = f"/apis/{version}/{kind}"
    collection = (
        everywhere if kind == "certificatesigningrequests" else f"/apis/{version}/namespaces/{namespace}/{kind}"
    )
    query = f"?labelSelector=e2e={namespace}"
    start = api("GET", collection + query)["metadata"]["resourceVersion"]
    with api.watch(collection, labelSelector=f"e2e={namespace}", resourceVersion=start, seconds=60) as following:
        names = [f"{namespace}-{number}" for number in range(3)]
        for name in names:
            meta = {"name": name, "labels": {"e2e": namespace}}
            made = api(
                "POST", collection, {"apiVersion": version, "kind": type, "metadata": meta, "spec": spec_of(kind)}
            )
        path = f"{collection}/{made['metadata']['name']}"
        assert api("GET", path)["metadata"]["uid"] == made["metadata"]["uid"]
        assert len(api("GET", everywhere + query)["items"]) == 3 == len(api("GET", collection + query)["items"])
        merge(api, path, {"metadata": {"annotations": {"patched": "true"}}})
        changed = update(api, path, lambda found: found["metadata"]["annotations"].update(updated="true"))
        changed = changed["metadata"]["annotations"]
        assert (changed["patched"], changed["updated"]) == ("true", "true")
        write_status(api, kind, path)
        api("DELETE", path)
        wait_until("deleted", lambda: api.gone(path), every=0.02)
        assert len(api("GET", collection + query)["items"]) == 2
        api("DELETE", collection + query)
        assert not api("GET", collection + query)["items"]
        seen = []
        while seen.count("DELETED") < 3:
            seen.append(following()[0])
    assert seen[0] == "ADDED" and "MODIFIED" in seen


def write_status(api: Api, kind: str, path: str) -> None:
    if kind == "cronjobs":
        status: dict[str, Any] = {"lastScheduleTime": NOW}
    elif kind == "poddisruptionbudgets":
        status = {"disruptedPods": {"x": NOW}, "observedGeneration": 1}
    else:
        approved = {"type": "Approved", "status": "True", "reason": "E2E", "message": "patched"}
        patch = {"status": {"conditions": [approved]}, "metadata": {"annotations": {"approved": "true"}}}
        found = merge(api, f"{path}/approval", patch)
        assert found["status"]["conditions"][0]["lastUpdateTime"]
        assert api("GET", f"{path}/approval")["metadata"]["annotations"]["approved"] == "true"
        found["status"]["conditions"][0]["message"] = "updated"
        status = {"conditions": [*found["status"]["conditions"], {**approved, "type": "StatusPatched"}]}
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": status}
    found = merge(api, f"{path}/status", patch)
    assert found["metadata"]["annotations"]["patchedstatus"] == "true"
    assert found["status"].items() >= status.items() if kind != "certificatesigningrequests" else found["status"]
    update(api, path, lambda found: found["metadata"]["annotations"].update(updatedstatus="true"), at="/status")
    assert api("GET", f"{path}/status")["metadata"]["annotations"]["updatedstatus"] == "true"


def test_events(api: Api, core: str, namespace: str) -> None:
    """The same events in the core group and in events.k8s.io: list, patch, series, delete, collections."""
    new = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    old = f"{core}/events"
    reference = {"kind": "Pod", "name": "p", "namespace": namespace}
    core_event = {
        "involvedObject": reference, "message": "one", "reason": "Test", "type": "Normal", "count": 1,
        "firstTimestamp": NOW, "lastTimestamp": NOW, "source": {"component": "e2e"},
    }  # fmt: skip
    new_event = {
        "regarding": reference, "note": "one", "reason": "Test", "type": "Normal", "eventTime": MICRO,
        "action": "Do", "reportingController": "e2e.example.com/c", "reportingInstance": "e2e-1",
    }  # fmt: skip
    series = {"series": {"count": 2, "lastObservedTime": MICRO}}
    for collection, event, patch, everywhere in (
        (old, core_event, {"message": "two"}, "/api/v1/events"),
        (new, new_event, series, "/apis/events.k8s.io/v1/events"),
    ):
        query = f"?labelSelector=e2e={namespace}"
        for number in range(3):
            api("POST", collection, {"metadata": {"name": f"e{number}", "labels": {"e2e": namespace}}, **event})
        listed = api("GET", everywhere + query)["items"]
        assert [item["metadata"]["name"] for item in listed] == ["e0", "e1", "e2"]
        selected = f"{query}&fieldSelector=reason%3DTest,metadata.name%3De1"
        assert len(api("GET", collection + selected)["items"]) == 1
        path = f"{collection}/e0"
        patched = api("PATCH", path, patch, media_type=STRATEGIC)
        assert patched.items() >= patch.items() and api("GET", path) == patched
        found = api("GET", path)
        found["series"] = {"count": 100, "lastObservedTime": MICRO}
        assert api("PUT", path, found)["series"] == api("GET", path)["series"] == found["series"]
        other = new if collection == old else old
        assert api("GET", f"{other}/e0")["metadata"]["uid"] == found["metadata"]["uid"]
        api("DELETE", path)
        assert api.gone(path) and len(api("GET", collection + query)["items"]) == 2
        api("DELETE", collection + query)
        assert not api("GET", everywhere + query)["items"]


@pytest.fixture
def other(api: Api) -> Iterator[str]:
    """A second namespace."""
    name = f"t-{secrets.token_hex(3)}"
    api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    api.exchange("DELETE", f"/api/v1/namespaces/{name}")


def test_limit_ranges_as_a_collection(api: Api, core: str, namespace: str, other: str) -> None:
    query = f"?labelSelector=e2e={namespace}"
    item = {"type": "Container", "max": {"cpu": "500m"}, "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "50m"}}
    body = {"metadata": {"name": "l", "labels": {"e2e": namespace}}, "spec": {"limits": [item]}}
    for where in (core, f"/api/v1/namespaces/{other}"):
        api("POST", f"{where}/limitranges", body)
    assert len(api("GET", f"/api/v1/limitranges{query}")["items"]) == 2
    patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"limits": [{**item, "max": {"cpu": "600m"}}]}}
    found = api("PATCH", f"{core}/limitranges/l", patch, media_type=STRATEGIC)
    assert (found["metadata"]["labels"]["patched"], found["spec"]["limits"][0]["max"]) == ("yes", {"cpu": "600m"})
    api("DELETE", f"{core}/limitranges?labelSelector=patched=yes")
    left = api("GET", f"/api/v1/limitranges{query}")["items"]
    assert [entry["metadata"]["namespace"] for entry in left] == [other]


def test_limit_range_defaults(api: Api, core: str) -> None:
    """Pods get its defaults where they say nothing, and what breaks its bounds is refused; an update counts at once."""
    limits = {
        "type": "Container", "min": {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "10Gi"},
        "max": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "default": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"},
    }  # fmt: skip
    collection = f"{core}/limitranges"
    version = api("GET", collection)["metadata"]["resourceVersion"]
    with api.watch(collection, resourceVersion=version) as following:
        api("POST", collection, {"metadata": {"name": "l"}, "spec": {"limits": [limits]}})
        kind, found = following()
    assert (kind, found["spec"]["limits"]) == ("ADDED", [limits])

    def resources(name: str, given: dict[str, Any]) -> dict[str, Any]:
        inner = {"containers": [{"name": "c", "image": "none.example.com/x", "resources": given}], "nodeName": "none"}
        made = api("POST", f"{core}/pods", {"metadata": {"name": name}, "spec": inner})
        return dict(made["spec"]["containers"][0]["resources"])

    assert resources("bare", {}) == {"limits": limits["default"], "requests": limits["defaultRequest"]}
    partial = resources("partial", {"requests": {"cpu": "300m"}, "limits": {"memory": "300Mi"}})
    assert partial["requests"] == {"cpu": "300m", "memory": "300Mi", "ephemeral-storage": "200Gi"}
    assert partial["limits"] == {"cpu": "500m", "memory": "300Mi", "ephemeral-storage": "500Gi"}
    for name, wrong in (("min", {"requests": {"cpu": "10m"}}), ("max", {"limits": {"cpu": "600m"}})):
        with pytest.raises(Refused, match=f"{name}imum cpu usage per Container"):
            resources(name, wrong)
    found["spec"]["limits"] = [{**limits, "min": {"cpu": "5m"}}]
    api("PUT", f"{collection}/l", found)
    assert resources("small", {"requests": {"cpu": "10m"}})["requests"]["cpu"] == "10m"
    api("DELETE", f"{collection}/l")
    assert resources("free", {"limits": {"cpu": "600m"}})["limits"] == {"cpu": "600m"}


def test_priority_classes(api: Api) -> None:
    """Listed, patched and updated in what may change; value and preemptionPolicy may not."""
    collection, name = "/apis/scheduling.k8s.io/v1/priorityclasses", f"p-{secrets.token_hex(3)}"
    path = f"{collection}/{name}"
    try:
        api("POST", collection, {"metadata": {"name": name, "labels": {"e2e": name}}, "value": 11})
        assert [item["value"] for item in api("GET", f"{collection}?labelSelector=e2e={name}")["items"]] == [11]
        assert merge(api, path, {"description": "patched"})["description"] == "patched"
        found = api("GET", path)
        found["description"] = "updated"
        assert api("PUT", path, found)["description"] == "updated"
        refused = "may not be changed in an update|Forbidden|field is immutable"
        with pytest.raises(Refused, match=refused):
            api("PUT", path, {**api("GET", path), "value": 12})
        with pytest.raises(Refused, match=refused):
            api("PATCH", path, [{"op": "replace", "path": "/value", "value": 12}], media_type=JSON_PATCH)
        with pytest.raises(Refused, match=refused):
            merge(api, path, {"preemptionPolicy": "Never"})
    finally:
        api.exchange("DELETE", f"{collection}?labelSelector=e2e={name}")
    assert api.gone(path)
