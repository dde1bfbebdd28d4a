"""ResourceQuota: which quotas concern an object, what an object uses, and the texts of refusals."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.components.apiserver.admission.resource_quota import plan_charges
from minikube_py.components.apiserver.types import AdmissionRequest, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SERVICES,
    Resource,
)

DEVICE_CLAIMS = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", namespaced=True)


def quota(hard: dict[str, str], used: dict[str, str], name: str = "q", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used},
    }


def charge(
    resource: Resource, obj: dict[str, Any], *quotas: dict[str, Any], old: dict[str, Any] | None = None
) -> dict[str, dict[str, str]] | str:
    """What is used afterwards of the quotas that are charged, or what the object is refused for."""
    operation = Operation.UPDATE if old else Operation.CREATE
    kind = Kind(resource, "x", "x")
    request = AdmissionRequest(operation, kind, "", "ns", "x", UserInfo("joe"), obj, old, {})
    try:
        charged = plan_charges(request, obj, quotas)
    except ApiError as error:
        assert error.code == 403
        return error.message.partition(" is forbidden: ")[2]
    return {each["metadata"]["name"]: each["status"]["used"] for each in charged}


def pod(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "resources": resources}], **spec}}


def test_what_a_pod_uses() -> None:
    hard = dict.fromkeys(
        ["pods", "count/pods", "cpu", "requests.cpu", "limits.memory", "requests.example.com/gpu", "hugepages-2Mi"],
        "99",
    )
    asked = {"cpu": "1", "memory": "2", "example.com/gpu": "3", "hugepages-2Mi": "4", "kubernetes.io/x": "5"}
    found = charge(PODS, pod(asked, {"memory": "6"}), quota(hard, dict.fromkeys(hard, "0")))
    assert found == {
        "q": {
            "pods": "1",
            "count/pods": "1",
            "cpu": "1",
            "requests.cpu": "1",
            "limits.memory": "6",
            "requests.example.com/gpu": "3",
            "hugepages-2Mi": "4",
        }
    }


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (pod({"cpu": "1"}), "failed quota: q: must specify limits.memory for: c; memory for: c"),
        (
            {"metadata": {}, "spec": {"containers": [{"name": "b"}, {"name": "a"}], "initContainers": [{"name": "i"}]}},
            "failed quota: q: must specify cpu for: a,b,i; limits.memory for: a,b,i; memory for: a,b,i",
        ),
        (pod(resources={"limits": {"memory": "1"}}), {"q": {"cpu": "0", "memory": "0", "limits.memory": "1"}}),
    ],
)
def test_what_containers_must_say(obj: dict[str, Any], why: Any) -> None:
    names = ("cpu", "memory", "limits.memory")
    hard, used = dict.fromkeys(names, "9"), dict.fromkeys(names, "0")
    assert charge(PODS, obj, quota(hard, used)) == why


@pytest.mark.parametrize(
    ("hard", "used", "why"),
    [
        (
            {"pods": "1", "requests.cpu": "2", "configmaps": "0"},
            {"pods": "1"},
            "status unknown for quota: q, resources: pods,requests.cpu",
        ),
        ({"configmaps": "0", "services": "0"}, {}, {}),
        (
            {"pods": "1", "requests.cpu": "1500m", "memory": "9"},
            {"pods": "1", "requests.cpu": "1", "memory": "0"},
            "exceeded quota: q, requested: pods=1,requests.cpu=1, used: pods=1,requests.cpu=1, limited: "
            "pods=1,requests.cpu=1500m",
        ),
    ],
)
def test_refusals(hard: dict[str, str], used: dict[str, str], why: Any) -> None:
    assert charge(PODS, pod({"cpu": "1", "memory": "1"}), quota(hard, used)) == why


def test_a_quota_that_cannot_judge_comes_before_one_that_is_exceeded() -> None:
    full = quota({"pods": "0"}, {"pods": "0"}, "a")
    strict = quota({"cpu": "1"}, {"cpu": "0"}, "b")
    assert charge(PODS, pod(), full, strict) == "failed quota: b: must specify cpu for: c"


def scope(name: str, operator: str = "Exists", *values: str) -> dict[str, Any]:
    return {"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": list(values)}]}}


AFFINE = {
    "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaces": ["n"]}}]}
}


@pytest.mark.parametrize(
    ("spec", "obj", "counted"),
    [
        ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), True),
        ({"scopes": ["NotTerminating"]}, pod(activeDeadlineSeconds=5), False),
        ({"scopes": ["BestEffort"]}, pod(), True),
        ({"scopes": ["BestEffort"]}, pod({"cpu": "1"}), False),
        ({"scopes": ["NotBestEffort"]}, pod({"example.com/x": "1"}), False),
        ({"scopes": ["PriorityClass"]}, pod(), False),
        (scope("PriorityClass", "In", "high"), pod(priorityClassName="high"), True),
        (scope("PriorityClass", "NotIn", "high"), pod(), True),
        (scope("PriorityClass", "DoesNotExist"), pod(priorityClassName="high"), False),
        (scope("CrossNamespacePodAffinity"), pod(affinity=AFFINE), True),
        (scope("CrossNamespacePodAffinity"), pod(), False),
        (scope("VolumeAttributesClass"), pod(), False),
    ],
)
def test_scopes_of_pods(spec: dict[str, Any], obj: dict[str, Any], counted: bool) -> None:
    assert charge(PODS, obj, quota({"pods": "9"}, {"pods": "0"}, **spec)) == ({"q": {"pods": "1"}} if counted else {})


def claim(size: str = "1Gi", status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "resourceVersion": "1"},
        "spec": {"resources": {"requests": {"storage": size}}, **spec},
        "status": status or {},
    }


@pytest.mark.parametrize(
    ("spec", "obj", "counted"),
    [
        ({"scopes": ["VolumeAttributesClass"]}, claim(), False),
        ({"scopes": ["VolumeAttributesClass"]}, claim(volumeAttributesClassName="gold"), True),
        (scope("VolumeAttributesClass", "In", "gold"), claim(volumeAttributesClassName="gold"), True),
        (scope("VolumeAttributesClass", "In", "gold"), claim(volumeAttributesClassName="tin"), False),
        (
            scope("VolumeAttributesClass", "In", "gold"),
            claim(status={"currentVolumeAttributesClassName": "gold"}, volumeAttributesClassName="tin"),
            True,
        ),
        (scope("VolumeAttributesClass", "NotIn", "gold"), claim(), True),
        ({"scopes": ["BestEffort"]}, claim(), False),
    ],
)
def test_scopes_of_claims(spec: dict[str, Any], obj: dict[str, Any], counted: bool) -> None:
    full = quota({"requests.storage": "9Gi"}, {"requests.storage": "0"}, **spec)
    assert charge(PERSISTENT_VOLUME_CLAIMS, obj, full) == ({"q": {"requests.storage": "1Gi"}} if counted else {})


def test_what_claims_use_by_class_and_growth() -> None:
    by_class = "gold.storageclass.storage.k8s.io/"
    names = (
        "requests.storage",
        "persistentvolumeclaims",
        f"{by_class}requests.storage",
        "count/persistentvolumeclaims",
    )
    hard, used = dict.fromkeys(names, "9Gi"), dict.fromkeys(names, "1")
    small = claim("1Gi", storageClassName="gold")
    stuck = claim("1Gi", {"allocatedResources": {"storage": "3Gi"}}, storageClassName="gold")
    big = claim("4Gi", storageClassName="gold")
    grown = charge(PERSISTENT_VOLUME_CLAIMS, big, quota(hard, dict.fromkeys(names, "0")), old=small)
    assert grown == {
        "q": {**dict.fromkeys(names, "0"), "requests.storage": "3Gi", f"{by_class}requests.storage": "3Gi"}
    }
    assert charge(PERSISTENT_VOLUME_CLAIMS, stuck, quota(hard, used), old=small) != {}
    # What gets smaller is given back by the controller.
    assert charge(PERSISTENT_VOLUME_CLAIMS, small, quota(hard, used), old=big) == {}


def test_an_update_that_makes_an_object_is_charged_in_full() -> None:
    service = {"metadata": {"name": "x"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}
    names = ("services", "services.nodeports", "services.loadbalancers")
    full = quota(dict.fromkeys(names, "9"), dict.fromkeys(names, "0"))
    assert charge(SERVICES, service, full, old={"metadata": {}}) == {
        "q": {"services": "1", "services.nodeports": "2", "services.loadbalancers": "1"}
    }


def test_devices_of_claims() -> None:
    requests = [
        {"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
        {"name": "b", "exactly": {"deviceClassName": "nic", "allocationMode": "All"}},
        {
            "name": "c",
            "firstAvailable": [
                {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1},
                {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3},
            ],
        },
    ]
    devices = ".deviceclass.resource.k8s.io/devices"
    names = (f"gpu{devices}", f"nic{devices}", "count/resourceclaims.resource.k8s.io", "pods")
    full = quota(dict.fromkeys(names, "40"), dict.fromkeys(names, "0"))
    made = {"metadata": {"name": "x"}, "spec": {"devices": {"requests": requests}}}
    assert charge(DEVICE_CLAIMS, made, full) == {
        "q": {f"gpu{devices}": "5", f"nic{devices}": "32", "count/resourceclaims.resource.k8s.io": "1", "pods": "0"}
    }


def test_objects_are_counted_by_either_name() -> None:
    names = ("configmaps", "count/configmaps", "count/configmaps.example.com")
    full = quota(dict.fromkeys(names, "9"), dict.fromkeys(names, "0"))
    made = {"metadata": {"name": "x"}}
    found = charge(CONFIG_MAPS, made, full)
    assert found == {"q": {"configmaps": "1", "count/configmaps": "1", "count/configmaps.example.com": "0"}}
