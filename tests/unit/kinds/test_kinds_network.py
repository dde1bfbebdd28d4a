"""Services, EndpointSlices and classes: rules for what changes, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kinds.common.checks import (
    canonical_cidr_errors,
    cidr_errors,
    interface_address_errors,
    ip_texts,
)
from minikube_py.machinery.kinds.core import service_strategy, service_validation
from minikube_py.machinery.kinds.discovery import endpoint_slice
from minikube_py.machinery.kinds.networking import ingress, ingress_class, network_policy, service_cidr
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


def endpoints(*listed: Object) -> Object:
    return {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": list(listed), "ports": []}


def test_addresses_are_strict_where_they_are_new() -> None:
    odd = endpoints({"addresses": ["010.0.0.1"]})
    assert told(endpoint_slice.KIND.validate(odd)) == [
        'endpoints[0].addresses[0]: Invalid value: "010.0.0.1": must not have leading 0s'
    ]
    assert endpoint_slice.KIND.validate_update is not None
    assert endpoint_slice.KIND.validate_update(odd, odd) == []


def test_an_address_of_the_other_family_is_judged_all_the_same() -> None:
    assert told(endpoint_slice.KIND.validate(endpoints({"addresses": ["::1"]}))) == [
        'endpoints[0].addresses: Invalid value: "::1": must be an IPv4 address',
        'endpoints[0].addresses[0]: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    ]


def test_deprecated_topology_goes_and_leaves_the_node_it_told() -> None:
    here: Object = {"kubernetes.io/hostname": "n"}
    made = endpoints({"addresses": ["10.0.0.1"], "deprecatedTopology": dict(here)})
    endpoint_slice.KIND.prepare_create(made)
    assert made["endpoints"] == [{"addresses": ["10.0.0.1"]}]
    old = endpoints({"addresses": ["10.0.0.1"], "deprecatedTopology": dict(here)})
    changed = endpoints(
        {"addresses": ["10.0.0.2"], "deprecatedTopology": dict(here)},
        {"addresses": ["10.0.0.3"], "deprecatedTopology": {"kubernetes.io/hostname": "other"}},
    )
    endpoint_slice.KIND.prepare_update(changed, old)
    assert changed["endpoints"] == [{"addresses": ["10.0.0.2"], "nodeName": "n"}, {"addresses": ["10.0.0.3"]}]
    assert changed["metadata"]["generation"] == 1
    same = endpoints({"addresses": ["10.0.0.1"], "deprecatedTopology": dict(here)})
    endpoint_slice.KIND.prepare_update(same, old)
    assert same["endpoints"] == old["endpoints"]


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


def policy(*blocks: Object, **port: Any) -> Object:
    rule = {"from": [{"ipBlock": block} for block in blocks], "ports": [port] if port else []}
    return {"metadata": {"name": "p"}, "spec": {"podSelector": {}, "ingress": [rule]}}


ODD = {"cidr": "10.0.0.0/8", "except": ["10.1.2.3/16"]}
BEYOND = "must not have bits set beyond the prefix length"


def test_ranges_are_strict_where_they_are_new() -> None:
    path = "spec.ingress[0].from[0].ipBlock.except[0]"
    told_once = f'{path}: Invalid value: "10.1.2.3/16": {BEYOND}'
    assert told(network_policy.KIND.validate(policy(ODD))) == [told_once]
    assert told(network_policy.KIND.validate_update(policy(ODD), policy())) == [told_once] * 2
    assert network_policy.KIND.validate_update(policy(ODD), policy(ODD)) == []


def test_an_end_below_its_port_is_told_with_the_port() -> None:
    assert told(network_policy.KIND.validate(policy(port=80, endPort=79))) == [
        "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"
    ]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("10.0.0.1", []),
        ("fe80::1", []),
        ("FE80::1", []),
        ("010.0.0.1", ["must not have leading 0s"]),
        ("::ffff:10.0.0.1", ["must not be an IPv4-mapped IPv6 address"]),
        ("10.0.0", ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]),
    ],
)
def test_addresses(value: str, wanted: list[str]) -> None:
    assert ip_texts(value) == wanted
    assert ip_texts(value, {value}) == []


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("10.0.0.0/8", []),
        ("FE80::/64", ['must be in canonical form ("fe80::/64")']),
        ("10.0.0.0/08", ["must not have leading 0s in IP or prefix length"]),
        ("::ffff:10.0.0.0/104", ["must not have an IPv4-mapped IPv6 address"]),
        ("10.0.0.1/8", [BEYOND]),
        ("10.0.0.1", ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
    ],
)
def test_ranges(value: str, wanted: list[str]) -> None:
    assert [error.detail for error in canonical_cidr_errors("p", value)] == wanted
    assert cidr_errors("p", value, {value}) == []


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("10.0.0.1/8", []),
        ("10.0.0.01/8", ['must be in canonical form ("10.0.0.1/8")']),
        ("10.0.0.1", ["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"]),
    ],
)
def test_addresses_of_interfaces(value: str, wanted: list[str]) -> None:
    assert [error.detail for error in interface_address_errors("p", value)] == wanted


CLASS = "kubernetes.io/ingress.class"


def entry(*hosts: str, addresses: list[Object] | None = None, **spec: Any) -> Object:
    rules = [{"host": host} if host else {} for host in hosts]
    made: Object = {"metadata": {"name": "i"}, "spec": {"rules": rules, **spec}}
    return {**made, "status": {"loadBalancer": {"ingress": addresses or []}}}


def test_ingresses_in_tables() -> None:
    made = entry("a", "b", "c", "d", addresses=[{"ip": "2.2.2.2"}, {"hostname": "h"}, {"ip": "1.1.1.1"}])
    made["metadata"]["annotations"] = {CLASS: "old"}
    assert ingress.KIND.row is not None
    assert list(ingress.KIND.row(made, 0))[1:5] == ["<none>", "a,b,c + 1 more...", "1.1.1.1,2.2.2.2,h", "80"]
    assert list(ingress.KIND.row(entry(""), 0))[2] == "*"


def test_the_annotation_is_warned_of_where_nothing_else_names_the_class() -> None:
    made = entry("a")
    made["metadata"]["annotations"] = {CLASS: "old"}
    assert len(ingress.KIND.warnings(made, None)) == 1
    made["spec"]["ingressClassName"] = "old"
    assert ingress.KIND.warnings(made, None) == []


def test_addresses_of_an_ingress_stay() -> None:
    odd = entry("a", addresses=[{"ip": "010.0.0.1"}])
    assert told(ingress.KIND.validate_status(odd, entry("a"))) == [
        'status.loadBalancer.ingress[0].ip: Invalid value: "010.0.0.1": must not have leading 0s'
    ]
    assert ingress.KIND.validate_status(odd, odd) == []


def test_a_changed_class_is_checked_as_a_whole() -> None:
    old, new = {"spec": {"controller": "a.io/c"}}, {"spec": {"controller": "x"}}
    errors = ingress_class.KIND.validate_update(new, old)
    assert [error.detail for error in errors] == [
        "field is immutable",
        'must be a domain-prefixed path (such as "acme.io/foo")',
    ]


NODE_PORTS = [{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002}]
HELD = {"type": "NodePort", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"], "internalTrafficPolicy": "Cluster"}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        pytest.param(
            {"ports": [{"name": "a", "port": 5}, {"name": "x", "port": 2}]},
            {"clusterIPs": ["10.43.0.9"], "ports": [30001, None]},
            id="ports are known by their names",
        ),
        pytest.param(
            {"ports": [{"name": "a", "port": 1, "nodePort": 30002}, {"name": "b", "port": 2}]},
            {"clusterIPs": ["10.43.0.9"], "ports": [30002, None]},
            id="a number goes to another port",
        ),
        pytest.param(
            {"clusterIP": "10.43.0.8"},
            {"clusterIP": "10.43.0.8", "clusterIPs": ["10.43.0.8"], "ports": [None, None]},
            id="one field stands for both",
        ),
        pytest.param(
            {"type": "ClusterIP", "ports": [{"port": 1, "nodePort": 30001}, {"port": 2}]},
            {"type": "ClusterIP", "ports": [None, None]},
            id="numbers go with the type",
        ),
        pytest.param(
            {"type": "ClusterIP", "ports": [{"port": 1, "nodePort": 30001}, {"port": 2, "nodePort": 30009}]},
            {"type": "ClusterIP", "ports": [30001, 30009]},
            id="numbers that are wanted stay, to be refused",
        ),
        pytest.param(
            {"type": "ExternalName", "internalTrafficPolicy": "Cluster", **{k: HELD[k] for k in ("clusterIP",)}},
            {"type": "ExternalName", "clusterIP": "10.43.0.9", "internalTrafficPolicy": "Cluster"},
            id="half of the addresses is a change",
        ),
    ],
)
def test_what_an_update_of_a_service_keeps(spec: Object, wanted: Object) -> None:
    old = {"spec": {**HELD, "ports": NODE_PORTS}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}
    new: Object = {"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}], **spec}, "status": {}}
    service_strategy.prepare_update(new, old)
    found = {**new["spec"], "ports": [port.get("nodePort") for port in new["spec"]["ports"]]}
    assert {field: found.get(field) for field in wanted} == wanted
    assert new["status"] == {"loadBalancer": {}}


def test_tolerations_of_a_runtime_class_are_told_apart() -> None:
    tolerations = [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists", "tolerationSeconds": 5}]
    made = {"metadata": {"name": "r"}, "handler": "h", "scheduling": {"tolerations": tolerations}}
    shown = '{"Key":"a","Operator":"Exists","Value":"","Effect":"","TolerationSeconds":5}'
    assert f"scheduling.tolerations[1]: Duplicate value: {shown}" in told(runtime_class.KIND.validate(made))
    assert (runtime_class.KIND.create_on_update, runtime_class.KIND.unconditional_update) == (True, False)


@pytest.mark.parametrize(
    ("cidrs", "wanted"),
    [
        pytest.param(["10.0.0.0/24", "fd00::/112"], [], id="a second one"),
        pytest.param(["10.1.0.0/24", "fd00::/112"], ["spec.cidrs[0]"], id="a second one for another first"),
        pytest.param(["10.0.0.0/24", "x"], ["spec.cidrs"], id="a second one that is none"),
        pytest.param([], ["spec.cidrs", "spec.cidrs"], id="none"),
    ],
)
def test_ranges_of_services_stay(cidrs: list[str], wanted: list[str]) -> None:
    new, old = ({"metadata": {"name": "c"}, "spec": {"cidrs": found}} for found in (cidrs, ["10.0.0.0/24"]))
    assert [error.field for error in service_cidr.KIND.validate_update(new, old)] == wanted
