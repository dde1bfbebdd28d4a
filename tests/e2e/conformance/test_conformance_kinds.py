"""Conformance of kinds by their API alone (sig-network, sig-node, sig-storage): every verb, status, collections."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import pytest
from cluster import wait_until
from conformance_api import MERGE, Api

TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "none.example.com/x"}]}}
BACKEND = {"service": {"name": "default-backend", "port": {"number": 80}}}
DEVICES = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "class.example.com"}}]}}
ALLOCATED = {"request": "r", "driver": "driver.example.com", "pool": "pool", "device": "d"}
ALLOCATION = {"devices": {"results": [ALLOCATED]}}
CONDITION = {
    "type": "Tested", "status": "True", "reason": "E2E", "message": "set", "lastTransitionTime": "2026-01-01T00:00:00Z",
}  # fmt: skip
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}
VOLUME = {
    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/none"},
    "storageClassName": "none", "persistentVolumeReclaimPolicy": "Retain",
}  # fmt: skip
CSI_VOLUME = {"driver": "inline.csi.example.com", "volumeAttributes": {"a": "b"}}


@dataclass(frozen=True)
class Case:
    """A kind: its group version (``v1``: the core group), its body, where its status is changed and how."""

    group: str
    body: dict[str, Any]
    namespaced: bool = True
    status: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "ingresses": Case(
        "networking.k8s.io/v1", {"spec": {"defaultBackend": BACKEND}},
        status={"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}},
    ),
    "ingressclasses": Case("networking.k8s.io/v1", {"spec": {"controller": "example.com/c"}}, namespaced=False),
    "endpointslices": Case("discovery.k8s.io/v1", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}]}),
    "endpoints": Case("v1", {"subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"port": 80}]}]}),
    "services": Case(
        "v1", {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}},
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
    ),
    "servicecidrs": Case(
        "networking.k8s.io/v1", {"spec": {"cidrs": ["10.195.0.0/24"]}}, namespaced=False,
        status={"conditions": [CONDITION]},
    ),
    "runtimeclasses": Case("node.k8s.io/v1", {"handler": "none"}, namespaced=False),
    "leases": Case("coordination.k8s.io/v1", {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 30}}),
    "podtemplates": Case("v1", {"template": TEMPLATE}),
    "nodes": Case("v1", {"spec": {"unschedulable": True}}, namespaced=False, status={"conditions": [CONDITION]}),
    "deviceclasses": Case("resource.k8s.io/v1", {"spec": {}}, namespaced=False),
    "resourceclaims": Case("resource.k8s.io/v1", {"spec": DEVICES}, status={"allocation": ALLOCATION}),
    "resourceclaimtemplates": Case("resource.k8s.io/v1", {"spec": {"spec": DEVICES}}),
    "resourceslices": Case(
        "resource.k8s.io/v1",
        {
            "spec": {
                "driver": "driver.example.com", "nodeName": "no-such-node", "devices": [{"name": "d"}],
                "pool": {"name": "pool", "generation": 1, "resourceSliceCount": 1},
            }
        },
        namespaced=False,
    ),
    "csidrivers": Case("storage.k8s.io/v1", {"spec": {"volumeLifecycleModes": ["Ephemeral"]}}, namespaced=False),
    "csinodes": Case(
        "storage.k8s.io/v1", {"spec": {"drivers": [{"name": "csi.example.com", "nodeID": "n"}]}}, namespaced=False
    ),
    "csistoragecapacities": Case("storage.k8s.io/v1", {"storageClassName": "none", "capacity": "1Gi"}),
    "storageclasses": Case("storage.k8s.io/v1", {"provisioner": "example.com/none"}, namespaced=False),
    "volumeattachments": Case(
        "storage.k8s.io/v1",
        {
            "spec": {
                "attacher": "none.example.com", "nodeName": "no-such-node",
                "source": {"persistentVolumeName": "no-such-volume"},
            }
        },
        namespaced=False, status={"attached": True},
    ),
    "volumeattributesclasses": Case(
        "storage.k8s.io/v1", {"driverName": "example.com/none", "parameters": {"a": "b"}}, namespaced=False
    ),
    "persistentvolumes": Case("v1", {"spec": VOLUME}, namespaced=False, status={"message": "E2E", "reason": "Tested"}),
    "persistentvolumeclaims": Case("v1", {"spec": CLAIM}, status={"conditions": [CONDITION]}),
    "pods": Case(
        "v1",
        {
            "spec": {
                "nodeName": "no-such-node", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "none.example.com/x"}],
                "volumes": [{"name": "inline", "csi": CSI_VOLUME}],
            }
        },
        status={"message": "E2E"},
    ),
}  # fmt: skip


def folder(case: Case, namespace: str) -> str:
    """The path of the collection's parent."""
    root = "/api/v1" if case.group == "v1" else f"/apis/{case.group}"
    return f"{root}/namespaces/{namespace}" if case.namespaced else root


def holds(found: Any, wanted: Any) -> bool:
    """Whether everything in ``wanted`` is in ``found``; lists by position."""
    if isinstance(wanted, dict):
        return all(key in found and holds(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) >= len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)


@pytest.mark.parametrize("plural", CASES)
def test_api_of_a_kind(api: Api, ground: str, plural: str) -> None:
    """Discovery, create, get, list, watch, patch, update, status, delete, deletecollection."""
    case, label = CASES[plural], f"e2e-{secrets.token_hex(3)}"
    parent = folder(case, ground.rsplit("/", 1)[1])
    root = parent.partition("/namespaces/")[0]
    kinds = {item["name"]: item for item in api("GET", root)["resources"]}
    assert {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} <= {
        *kinds[plural]["verbs"]
    }
    path, query = f"{parent}/{plural}", f"?labelSelector=e2e%3D{label}"
    head = {"apiVersion": case.group, "kind": kinds[plural]["kind"]}
    version = api("GET", path + query)["metadata"]["resourceVersion"]
    with api.watch(path, labelSelector=f"e2e={label}", resourceVersion=version, seconds=60) as following:
        for number in range(3):
            api(
                "POST", path, {**head, "metadata": {"name": f"{label}-{number}", "labels": {"e2e": label}}, **case.body}
            )
        one = f"{path}/{label}-0"
        assert holds(api("GET", one), case.body)
        assert len(api("GET", path + query)["items"]) == 3
        assert len(api("GET", f"{root}/{plural}{query}")["items"]) == 3
        api("PATCH", one, {"metadata": {"annotations": {"patched": "yes"}}}, media_type=MERGE)
        updated_by_put(api, one)
        if case.status:
            status_changes(api, one, case.status)
        api("DELETE", one)
        wait_until("deleted", lambda: finished(api, one), every=0.02)
        api("DELETE", path + query)
        wait_until("all deleted", lambda: not left(api, path + query), every=0.02)
        seen: list[str] = []
        while seen.count("DELETED") < 3:
            seen.append(following()[0])
        assert {"ADDED", "MODIFIED", "DELETED"} == set(seen)


def updated_by_put(api: Api, one: str) -> None:
    """Replaces the object; controllers may change it at the same time."""

    def put() -> bool:
        found = api("GET", one)
        found["metadata"].setdefault("annotations", {})["updated"] = "yes"
        return bool(api.exchange("PUT", one, found)[0] == 200)

    wait_until("the object is replaced", put, every=0.02)
    notes = api("GET", one)["metadata"]["annotations"]
    assert notes.items() >= {"patched": "yes", "updated": "yes"}.items()


def status_changes(api: Api, one: str, status: dict[str, Any]) -> None:
    """The status is patched, read and replaced by its own path."""
    assert holds(api("PATCH", f"{one}/status", {"status": status}, media_type=MERGE)["status"], status)
    assert "metadata" in api("GET", f"{one}/status")

    def put() -> bool:
        found = api("GET", f"{one}/status")
        found["metadata"].setdefault("annotations", {})["status-updated"] = "yes"
        return bool(api.exchange("PUT", f"{one}/status", found)[0] == 200)

    wait_until("the status is replaced", put, every=0.02)


def finished(api: Api, one: str) -> bool:
    """Gone; what finalizers of the cluster hold (volumes, ranges of addresses) is let go."""
    if api.gone(one):
        return True
    api.exchange("PATCH", one, {"metadata": {"finalizers": None}}, media_type=MERGE)
    return False


def left(api: Api, listing: str) -> list[dict[str, Any]]:
    """What is left of a deleted collection, without its finalizers."""
    found = list(api("GET", listing)["items"])
    path = listing.partition("?")[0]
    for item in found:
        finished(api, f"{path}/{item['metadata']['name']}")
    return found


def test_ip_addresses(api: Api) -> None:
    """An IPAddress is named by its address."""
    path = "/apis/networking.k8s.io/v1/ipaddresses"
    parent = {"resource": "services", "name": "none", "namespace": "default"}
    for last in (1, 2):
        body = {"metadata": {"name": f"192.0.2.{last}", "labels": {"e2e": "ip"}}, "spec": {"parentRef": parent}}
        api("POST", path, body)
    one = f"{path}/192.0.2.1"
    assert api("GET", one)["spec"]["parentRef"] == parent
    api("PATCH", one, {"metadata": {"annotations": {"patched": "yes"}}}, media_type=MERGE)
    updated_by_put(api, one)
    assert len(api("GET", f"{path}?labelSelector=e2e%3Dip")["items"]) == 2
    api("DELETE", one)
    api("DELETE", f"{path}?labelSelector=e2e%3Dip")
    assert not api("GET", f"{path}?labelSelector=e2e%3Dip")["items"]
