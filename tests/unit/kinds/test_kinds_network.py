"""Services, EndpointSlices and classes: rules for what changes, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kinds.core import service_validation
from minikube_py.machinery.kinds.discovery import endpoint_slice
from minikube_py.machinery.kinds.node import runtime_class
from minikube_py.machinery.kinds.storage import csi_storage_capacity, storage_class
from minikube_py.machinery.objects import Object


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def service(**spec: Any) -> Object:
    made = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "clusterIP": "10.43.0.9",
        "clusterIPs": ["10.43.0.9"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    return {"metadata": {"name": "s"}, "spec": {**made, **spec}}


BALANCED = {
    "type": "LoadBalancer",
    "allocateLoadBalancerNodePorts": True,
    "externalTrafficPolicy": "Local",
    "healthCheckNodePort": 30001,
}


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        pytest.param({}, {}, [], id="nothing changes"),
        pytest.param(
            {"clusterIP": "10.43.0.8", "clusterIPs": ["10.43.0.8"]},
            {},
            ['spec.clusterIPs[0]: Invalid value: ["10.43.0.8"]: may not change once set'],
            id="another address",
        ),
        pytest.param(
            {
                "clusterIPs": ["10.43.0.9", "fd00::9"],
                "ipFamilies": ["IPv4", "IPv6"],
                "ipFamilyPolicy": "PreferDualStack",
            },
            {},
            [],
            id="a second family",
        ),
        pytest.param(
            {**BALANCED, "healthCheckNodePort": 30002},
            BALANCED,
            ["spec.healthCheckNodePort: Forbidden: field is immutable"],
            id="another port of health checks",
        ),
        pytest.param(
            {**BALANCED, "loadBalancerClass": "example.com/b"},
            {**BALANCED, "loadBalancerClass": "example.com/a"},
            ['spec.loadBalancerClass: Invalid value: "example.com/b": may not change once set'],
            id="another class",
        ),
    ],
)
def test_updates_of_services(new: Object, old: Object, wanted: list[str]) -> None:
    assert told(service_validation.validate_update(service(**new), service(**old))) == wanted


def hints(**listed: list[str]) -> Object:
    return {kind: [{"name": called} for called in names] for kind, names in listed.items()}


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        pytest.param({"hints": hints(forZones=["a", "b"], forNodes=["n.example"])}, [], id="valid"),
        pytest.param(
            {"hints": hints(forZones=["a", "a"])}, ['hints.forZones[1].name: Duplicate value: "a"'], id="twice"
        ),
        pytest.param(
            {"hints": hints(forZones=[str(number) for number in range(9)])},
            ["hints.forZones: Too many: 9: must have at most 8 items"],
            id="many zones",
        ),
        pytest.param(
            {"deprecatedTopology": {f"k{number}": "" for number in range(17)}},
            ["deprecatedTopology: Too many: 17: must have at most 16 items"],
            id="much topology",
        ),
        pytest.param(
            {"addresses": ["127.0.0.1"]},
            ['addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'],
            id="a loopback address",
        ),
    ],
)
def test_endpoints(endpoint: Object, wanted: list[str]) -> None:
    made = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], **endpoint}], "ports": []}
    assert told(endpoint_slice.KIND.validate(made)) == [f"endpoints[0].{text}" for text in wanted]


def test_what_may_change_is_checked_again() -> None:
    handler = {"handler": "runc"}
    wrong: Object = {**handler, "scheduling": {"tolerations": [{"key": "a", "operator": "Sometimes"}]}}
    assert runtime_class.KIND.validate_update is not None
    assert len(runtime_class.KIND.validate_update(wrong, handler)) == 1
    capacity = {"storageClassName": "c"}
    assert csi_storage_capacity.KIND.validate_update is not None
    assert told(csi_storage_capacity.KIND.validate_update({**capacity, "capacity": "-1"}, capacity)) == [
        'capacity: Invalid value: "-1": must be greater than or equal to 0'
    ]
    known = {"provisioner": "p", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}
    topology: Object = {"allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": []}]}]}
    assert storage_class.KIND.validate_update is not None
    assert told(storage_class.KIND.validate_update({**known, **topology}, known)) == [
        "allowedTopologies[0].matchLabelExpressions[0].values: Required value"
    ]
