"""Device claims, classes and slices: what Kubernetes says about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from minikube_py.machinery.kinds.resource import device_class, resource_claim, resource_claim_template, resource_slice
from minikube_py.machinery.kinds.resource.names import attribute_name_errors, driver_errors, uid_errors
from minikube_py.machinery.objects import Object


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def offering(*devices: Mapping[str, Any], **spec: Any) -> Object:
    pool = {"name": "p", "resourceSliceCount": 1, "generation": 1}
    return {
        "metadata": {"name": "s"},
        "spec": {"driver": "d.example.com", "nodeName": "n", "pool": pool, "devices": list(devices), **spec},
    }


def asking(*requests: Mapping[str, Any], **devices: Any) -> Object:
    return {"metadata": {"name": "c"}, "spec": {"devices": {"requests": list(requests), **devices}}}


ONE = {"name": "a", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}}


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        pytest.param(offering({"name": "a"}), [], id="valid"),
        pytest.param(
            offering({"name": "a", "attributes": {"v": {"version": "1.2"}}}),
            [
                'spec.devices[0].attributes[v].version: Invalid value: "1.2": must be a string compatible with '
                "semver.org spec 2.0.0"
            ],
            id="version",
        ),
        pytest.param(
            offering({"name": "a", "attributes": {"a/b/c": {"int": 1}}}),
            ['spec.devices[0].attributes: Invalid value: "a/b/c": must not contain more than one slash'],
            id="attribute-name",
        ),
        pytest.param(
            offering({"name": "a", "taints": [{"key": "k", "effect": "Odd"}]}),
            [
                'spec.devices[0].taints[0].effect: Unsupported value: "Odd": supported values: "NoExecute", '
                '"NoSchedule", "None"'
            ],
            id="taint",
        ),
        pytest.param(
            offering({"name": "a", "allNodes": True}),
            [
                "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if "
                "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            ],
            id="device-place",
        ),
        pytest.param(
            offering({"name": "a", "bindingConditions": ["x"]}),
            [
                "spec.devices[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required "
                "to use bindingConditions"
            ],
            id="binding",
        ),
        pytest.param(
            offering(
                {
                    "name": "a",
                    "allowMultipleAllocations": True,
                    "capacity": {"m": {"value": "8", "requestPolicy": {"default": "3", "validRange": {"min": "4"}}}},
                }
            ),
            [
                'spec.devices[0].capacity[m].requestPolicy.validRange.min: Invalid value: "3": default is less '
                "than min: 4"
            ],
            id="capacity-range",
        ),
        pytest.param(
            offering(*({"name": f"d{at}"} for at in range(129))),
            ["spec.devices: Too many: 129: must have at most 128 items"],
            id="too-many",
        ),
        pytest.param(
            offering(allNodes=True),
            [
                'spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, '
                "`allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set"
            ],
            id="two-places",
        ),
    ],
)
def test_slices(made: Object, wanted: list[str]) -> None:
    assert told(resource_slice.KIND.validate(made)) == wanted


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        pytest.param(asking(ONE), [], id="valid"),
        pytest.param(asking(ONE, ONE), ['spec.devices.requests[1]: Duplicate value: "a"'], id="same-name"),
        pytest.param(
            asking(ONE, constraints=[{"matchAttribute": "x"}]),
            [
                'spec.devices.constraints[0].matchAttribute: Invalid value: "x": a fully qualified name must be a '
                "domain and a name separated by a slash"
            ],
            id="constraint-domain",
        ),
        pytest.param(
            asking(ONE, config=[{"requests": ["a", "a"], "opaque": {"driver": "d.io", "parameters": [1]}}]),
            [
                'spec.devices.config[0].requests[1]: Duplicate value: "a"',
                'spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON '
                "object",
            ],
            id="configuration",
        ),
        pytest.param(
            asking({"name": "a", "exactly": {**ONE["exactly"], "tolerations": [{"operator": "Exists", "value": "v"}]}}),
            [
                'spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: "v": must be empty for '
                "operator `Exists`"
            ],
            id="toleration",
        ),
    ],
)
def test_claims(made: Object, wanted: list[str]) -> None:
    assert told(resource_claim.KIND.validate(made)) == wanted


def test_a_reservation_needs_an_allocation() -> None:
    claim = {**asking(ONE), "status": {"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]}}
    assert told(resource_claim.KIND.validate_status(claim, asking(ONE))) == [
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"
    ]


def test_an_allocation_names_requests_of_the_claim() -> None:
    result = {"request": "zz", "driver": "d.io", "pool": "p", "device": "x"}
    claim = {**asking(ONE), "status": {"allocation": {"devices": {"results": [result]}}}}
    assert [error.field for error in resource_claim.KIND.validate_status(claim, asking(ONE))] == [
        "status.allocation.devices.results[0].request"
    ]


def test_class_with_a_name_that_is_no_extended_resource() -> None:
    made = {"metadata": {"name": "c"}, "spec": {"extendedResourceName": "cpu"}}
    assert told(device_class.KIND.validate(made)) == [
        'spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name'
    ]


@pytest.mark.parametrize("name", ["model", "_x", "d.example.com/model"])
def test_attribute_names(name: str) -> None:
    assert attribute_name_errors("p", name) == []


@pytest.mark.parametrize(
    ("uid", "wanted"),
    [
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", ""),
        ("x", "error validating uid: invalid UUID length: 1"),
        ("z" * 36, "error validating uid: invalid UUID format"),
        ("urx:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", 'error validating uid: invalid urn prefix: "urx:uuid:"'),
        ("[6ba7b810-9dad-11d1-80b4-00c04fd430c8]", "error validating uid: invalid bracketed UUID format"),
        ("6BA7B810-9dad-11d1-80b4-00c04fd430c8", "uid must be in RFC 4122 normalized form"),
        ("6ba7b8109dad11d180b400c04fd430c8", "uid must be in RFC 4122 normalized form"),
    ],
)
def test_shares_are_named_by_uuids(uid: str, wanted: str) -> None:
    found = [error.detail for error in uid_errors("p", uid)]
    assert [text[: len(wanted)] for text in found] == ([wanted] if wanted else [])


def test_long_driver_names() -> None:
    assert told(driver_errors("p", "a" * 64)) == ["p: Too long: may not be more than 63 bytes"]


@pytest.mark.parametrize("changed", [(), ({"name": "A", "exactly": {**ONE["exactly"]}},)])
def test_a_changed_claim_is_not_looked_at(changed: tuple[Object, ...]) -> None:
    fields = [error.field for error in resource_claim.KIND.validate_update(asking(*changed), asking(ONE))]
    assert fields == ["spec"]


def test_reports_of_devices_go_with_their_allocation() -> None:
    devices = [{"driver": "d.example.com", "pool": "p", "device": name} for name in ("kept", "gone")]

    def claim(*allocated: Object) -> Object:
        results = [{**device, "request": "a"} for device in allocated]
        reports = [{**device, "networkData": {}} for device in devices]
        return {**asking(ONE), "status": {"allocation": {"devices": {"results": results}}, "devices": reports}}

    fewer = claim(devices[0])
    resource_claim.KIND.prepare_status(fewer, claim(*devices))
    assert [device["device"] for device in fewer["status"]["devices"]] == ["kept"]
    none = claim()
    resource_claim.KIND.prepare_status(none, claim(*devices))
    assert "devices" not in none["status"]


def test_reports_of_devices_are_unique() -> None:
    device = {"driver": "d.example.com", "pool": "p", "device": "x"}
    result = {**device, "request": "a"}
    made = {**asking(ONE), "status": {"allocation": {"devices": {"results": [result]}}, "devices": [device, device]}}
    told_of = [(error.type, error.field) for error in resource_claim.KIND.validate_status(made, asking(ONE))]
    assert told_of == [("FieldValueDuplicate", "status.devices[1]")]


def test_templates_show_their_metadata_beside_the_spec() -> None:
    old = {"spec": {"metadata": {"labels": {"b": "1", "a": "2"}}, "spec": {}}}
    new = {"spec": {**old["spec"], "spec": {"devices": {"requests": []}}}}
    (error,) = resource_claim_template.KIND.validate_update(new, old)
    assert error.body() == (
        'Invalid value: {"labels":{"a":"2","b":"1"},"Spec":{"Devices":{"Requests":null,"Constraints":null,'
        '"Config":null}}}: field is immutable'
    )


def test_what_drivers_report_of_a_device() -> None:
    place = {"driver": "d.io", "pool": "p", "device": "x"}
    device = {**place, "conditions": [{"type": "Ready"}], "networkData": {"ips": ["10.0.0.1/24", "10.0.0.1"]}}
    status = {"allocation": {"devices": {"results": [{"request": "a", **place}]}}, "devices": [device]}
    errors = resource_claim.KIND.validate_status({**asking(ONE), "status": status}, {**asking(ONE), "status": status})
    assert [error.field.removeprefix("status.devices[0].") for error in errors] == [
        "conditions[0].status",
        "conditions[0].lastTransitionTime",
        "conditions[0].reason",
        "networkData.ips[1]",
    ]


def test_attributes_that_are_lists_are_kept_only_where_they_were() -> None:
    def made() -> Object:
        return {"spec": {"devices": [{"name": "d", "attributes": {"a": {"ints": [1]}, "b": {"int": 1}}}]}}

    new, again = made(), made()
    resource_slice.KIND.prepare_create(new)
    assert new["spec"]["devices"][0]["attributes"] == {"a": {}, "b": {"int": 1}}
    resource_slice.KIND.prepare_update(again, made())
    assert again == made()
