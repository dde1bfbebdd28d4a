"""sig-api-machinery conformance: "API operations" of configuration kinds, namespaces."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import wait_until
from conformance_api import MERGE, Api

ADMISSION, FLOW = "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"
RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
APPLY = {"applyConfiguration": {"expression": "Object{}"}, "patchType": "ApplyConfiguration"}
SPECS: dict[str, tuple[str, str, bool, dict[str, Any]]] = {
    "flowschemas": (
        FLOW, "FlowSchema", True,
        {"matchingPrecedence": 9000, "priorityLevelConfiguration": {"name": "exempt"}, "rules": []},
    ),
    "prioritylevelconfigurations": (
        FLOW, "PriorityLevelConfiguration", True,
        {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}},
    ),
    "validatingadmissionpolicies": (
        ADMISSION, "ValidatingAdmissionPolicy", True,
        {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]},
    ),
    "validatingadmissionpolicybindings": (
        ADMISSION, "ValidatingAdmissionPolicyBinding", False, {"policyName": "none", "validationActions": ["Deny"]},
    ),
    "mutatingadmissionpolicies": (
        ADMISSION, "MutatingAdmissionPolicy", False,
        {"matchConstraints": {"resourceRules": [RULE]}, "mutations": [APPLY], "reinvocationPolicy": "Never"},
    ),
    "mutatingadmissionpolicybindings": (
        ADMISSION, "MutatingAdmissionPolicyBinding", False, {"policyName": "none"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("plural", SPECS)
def test_api_operations(api: Api, plural: str) -> None:
    """Discovery, create, get, list, watch, update, patch, status, delete, deletecollection."""
    group, kind, has_status, spec = SPECS[plural]
    label = f"e2e-{secrets.token_hex(3)}"
    listed = {item["name"] for item in api("GET", f"/apis/{group}/v1")["resources"]}
    assert plural in listed and (f"{plural}/status" in listed) == has_status
    assert any(
        version["groupVersion"] == f"{group}/v1"
        for found in api("GET", "/apis")["groups"]
        for version in found["versions"]
    )
    path, query = f"/apis/{group}/v1/{plural}", f"?labelSelector=e2e={label}"
    version = api("GET", path + query)["metadata"]["resourceVersion"]
    with api.watch(path, labelSelector=f"e2e={label}", resourceVersion=version) as following:
        for number in range(3):
            meta = {"name": f"{label}-{number}", "labels": {"e2e": label}}
            api("POST", path, {"apiVersion": f"{group}/v1", "kind": kind, "metadata": meta, "spec": spec})
        one = f"{path}/{label}-0"
        assert api("GET", one)["metadata"]["labels"] == {"e2e": label}
        assert len(api("GET", path + query)["items"]) == 3
        patched = api("PATCH", one, {"metadata": {"annotations": {"patched": "yes"}}}, media_type=MERGE)
        patched = api("GET", one)
        patched["metadata"]["annotations"]["updated"] = "yes"
        assert api("PUT", one, patched)["metadata"]["annotations"] == {"patched": "yes", "updated": "yes"}
        if has_status:
            condition = {
                "type": "Tested", "status": "True", "reason": "E2E", "message": "set", "lastTransitionTime": None,
            }  # fmt: skip
            condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
            changed = api("PATCH", f"{one}/status", {"status": {"conditions": [condition]}}, media_type=MERGE)
            assert [item["type"] for item in changed["status"]["conditions"]] == ["Tested"]
            assert api("GET", f"{one}/status")["metadata"]["name"] == f"{label}-0"
        api("DELETE", one)
        wait_until("deleted", lambda: api.gone(one), every=0.02)
        api("DELETE", path + query)
        assert not api("GET", path + query)["items"]
        seen = []
        while [kind for kind, _ in seen].count("DELETED") < 3:
            seen.append(following())
        assert {"ADDED", "MODIFIED", "DELETED"} == {kind for kind, _ in seen}


@pytest.fixture
def fresh(api: Api) -> Iterator[str]:
    name = f"c-{secrets.token_hex(3)}"
    api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield f"/api/v1/namespaces/{name}"
    api.exchange("DELETE", f"/api/v1/namespaces/{name}")


def test_namespaces_are_patched_updated_and_finalized(api: Api, fresh: str) -> None:
    assert api("PATCH", fresh, {"metadata": {"labels": {"a": "b"}}}, media_type=MERGE)["metadata"]["labels"]["a"] == "b"
    found = api("GET", fresh)
    found["metadata"]["labels"]["updated"] = "yes"
    assert api("PUT", fresh, found)["metadata"]["labels"]["updated"] == "yes"
    assert api("GET", f"{fresh}/status")["status"]["phase"] == "Active"
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "patched"}
    patched = api("PATCH", f"{fresh}/status", {"status": {"conditions": [condition]}}, media_type=MERGE)
    assert patched["status"]["conditions"][0]["message"] == "patched"
    patched["status"]["conditions"].append({**condition, "type": "StatusUpdate"})
    changed = api("PUT", f"{fresh}/status", patched)
    assert [item["type"] for item in changed["status"]["conditions"]] == ["StatusPatch", "StatusUpdate"]
    changed["spec"]["finalizers"].append("e2e.example.com/fake")
    finalized = api("PUT", f"{fresh}/finalize", changed)
    assert finalized["spec"]["finalizers"] == ["kubernetes", "e2e.example.com/fake"]
    finalized["spec"]["finalizers"].pop()
    assert api("PUT", f"{fresh}/finalize", finalized)["spec"]["finalizers"] == ["kubernetes"]


def test_deleting_a_namespace_takes_pods_first_and_everything_else(api: Api, fresh: str) -> None:
    """Pods and services are removed; what pods may need stays until the pods are gone."""
    wait_until("ServiceAccount", lambda: not api.gone(f"{fresh}/serviceaccounts/default"), every=0.02)
    held = {"name": "held", "finalizers": ["e2e.example.com/hold"]}
    container = {"name": "c", "image": "none.example.com/x"}
    api("POST", f"{fresh}/pods", {"metadata": held, "spec": {"containers": [container], "nodeName": "no-such-node"}})
    api("POST", f"{fresh}/configmaps", {"metadata": {"name": "kept"}})
    api("POST", f"{fresh}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    api("DELETE", fresh)
    wait_until("the pod is deleted", lambda: "deletionTimestamp" in api("GET", f"{fresh}/pods/held")["metadata"])

    def waits() -> Any:
        conditions = api("GET", fresh)["status"].get("conditions") or []
        return any(item["type"] == "NamespaceFinalizersRemaining" and item["status"] == "True" for item in conditions)

    wait_until("the namespace says that it waits", waits)
    assert not api.gone(f"{fresh}/configmaps/kept")
    api("PATCH", f"{fresh}/pods/held", {"metadata": {"finalizers": None}}, media_type=MERGE)
    api.exchange("DELETE", f"{fresh}/pods/held?gracePeriodSeconds=0")
    wait_until("the namespace is gone", lambda: api.gone(fresh), seconds=30)
    name = fresh.rsplit("/", 1)[1]
    api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert not api("GET", f"{fresh}/services")["items"] and not api("GET", f"{fresh}/pods")["items"]
