"""Storage kinds: drivers, their nodes, classes and attachments, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.storage import (
    csi_driver,
    csi_node,
    storage_class,
    volume_attachment,
    volume_attributes_class,
)
from minikube_py.machinery.objects import Object, thaw


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def driver(**spec: Any) -> Object:
    made: Object = {"metadata": {"name": "d.example.com"}, "spec": spec}
    csi_driver.KIND.default(made)
    return made


def node(**fields: Any) -> Object:
    return {"metadata": {"name": "n"}, "spec": {"drivers": [{"name": "d.io", "nodeID": "n", **fields}]}}


INLINE = {"accessModes": ["ReadWriteOnce"], "csi": {"driver": "a.io", "volumeHandle": "v"}, "volumeMode": "Filesystem"}


def attachment(status: Object | None = None, **spec: Any) -> Object:
    base = {"attacher": "a.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
    return {"metadata": {"name": "v"}, "spec": {**base, **spec}, "status": status or {}}


def terms(*terms_: Any) -> Object:
    listed = [{"matchLabelExpressions": [{"key": key, "values": list(values)}]} for key, values in terms_]
    made: Object = {"metadata": {"name": "c"}, "provisioner": "p.io", "allowedTopologies": listed}
    storage_class.KIND.default(made)
    return made


SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize(
    ("kind", "made", "wanted"),
    [
        pytest.param(csi_driver.KIND, driver(), [], id="driver"),
        pytest.param(
            csi_driver.KIND,
            driver(volumeLifecycleModes=["Odd"], nodeAllocatableUpdatePeriodSeconds=9),
            [
                'spec.volumeLifecycleModes: Unsupported value: "Odd": supported values: "Persistent", "Ephemeral"',
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 "
                "seconds",
            ],
            id="modes and period",
        ),
        pytest.param(csi_node.KIND, node(nodeID="n" * 256), [], id="long id"),
        pytest.param(
            csi_node.KIND,
            node(nodeID="n" * 257),
            [f'spec.drivers[0].nodeID: Invalid value: "{"n" * 257}": must be 256 characters or less'],
            id="too long an id",
        ),
        pytest.param(volume_attachment.KIND, attachment(), [], id="attachment"),
        pytest.param(
            volume_attachment.KIND,
            attachment(attacher="Bad_Driver", source={"persistentVolumeName": "Bad"}),
            [
                f'spec.attacher: Invalid value: "Bad_Driver": {SUBDOMAIN}',
                f'spec.source.persistentVolumeName: Invalid value: "Bad": {SUBDOMAIN}',
            ],
            id="names in an attachment",
        ),
        pytest.param(
            volume_attachment.KIND,
            attachment(source={"inlineVolumeSpec": INLINE}),
            [],
            id="inline volume",
        ),
        pytest.param(
            volume_attachment.KIND,
            attachment(
                source={
                    "inlineVolumeSpec": {
                        "claimRef": {},
                        "hostPath": {"path": "/a"},
                        "persistentVolumeReclaimPolicy": "Delete",
                        "storageClassName": "s",
                        "volumeMode": "Block",
                    }
                }
            ),
            [
                f"spec.source.inlineVolumeSpec.{wrong}"
                for wrong in (
                    "claimRef: Forbidden: may not be specified in the context of inline volumes",
                    "csi: Required value: has to be specified in the context of inline volumes",
                    "accessModes: Required value",
                    "persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
                    "storageClassName: Forbidden: may not be specified in the context of inline volumes",
                    "volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of "
                    "inline volumes",
                )
            ],
            id="an inline volume like an object",
        ),
        pytest.param(storage_class.KIND, terms(("a", "x"), ("a", "y")), [], id="two terms"),
        pytest.param(
            storage_class.KIND,
            terms(("a", "x"), ("a", "x")),
            ['allowedTopologies[1].matchLabelExpressions: Duplicate value: ""'],
            id="a term twice",
        ),
        pytest.param(
            storage_class.KIND,
            {**terms(), "parameters": {str(number): "" for number in range(513)}},
            ["parameters: Too long: may not be more than 512 bytes"],
            id="many parameters",
        ),
    ],
)
def test_new_objects(kind: Kind, made: Object, wanted: list[str]) -> None:
    assert told(kind.validate(made)) == wanted


def test_the_source_in_an_attachment_has_defaults() -> None:
    made = attachment(source={"inlineVolumeSpec": {"hostPath": {"path": "/a"}}})
    volume_attachment.KIND.default(made)
    assert made["spec"]["source"]["inlineVolumeSpec"] == {"hostPath": {"path": "/a", "type": ""}}


def test_an_attachment_says_what_is_wrong_with_its_status_twice() -> None:
    changed = attachment({"attachError": {"message": "m" * 1025, "errorCode": -1}})
    once = [
        "status.attachError.message: Too long: may not be more than 262144 bytes",
        "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
    ]
    assert told(volume_attachment.KIND.validate_status(changed, attachment())) == once * 2


def test_an_attachment_says_what_is_wrong_with_a_changed_spec_twice() -> None:
    changed = attachment(nodeName="n_", attacher="a_", source={"persistentVolumeName": "p_"})
    wrong = told(volume_attachment.KIND.validate_update(changed, attachment()))
    assert wrong[:2] == [f'spec.nodeName: Invalid value: "n_": {SUBDOMAIN}'] * 2
    assert [each.partition(": ")[0] for each in wrong[2:]] == ["spec"]


def test_order_of_modes_is_part_of_them() -> None:
    old = driver(volumeLifecycleModes=["Persistent", "Ephemeral"])
    assert told(csi_driver.KIND.validate_update(driver(volumeLifecycleModes=["Ephemeral", "Persistent"]), old)) == [
        'spec.volumeLifecycleModes: Invalid value: ["Ephemeral","Persistent"]: field is immutable'
    ]
    assert csi_driver.KIND.validate_update(thaw(old), old) == []


def test_what_a_driver_may_allocate_may_change() -> None:
    assert csi_node.KIND.validate_update(node(allocatable={"count": 5}), node()) == []
    assert told(csi_node.KIND.validate_update(node(topologyKeys=["zone"]), node())) == [
        'spec.drivers: Invalid value: {"Name":"d.io","NodeID":"n","TopologyKeys":["zone"],"Allocatable":null}: '
        "field is immutable"
    ]


def test_classes_of_attributes_are_checked_before_and_after() -> None:
    old = {"driverName": "d.io", "parameters": {"a": "b"}}
    missing = "parameters: Required value: must contain at least one key/value pair"
    errors = told(volume_attributes_class.KIND.validate_update({"driverName": "d.io"}, old))
    assert errors == [missing, "parameters: Invalid value: null: field is immutable", missing]


def test_a_driver_counts_its_changes_from_none() -> None:
    old = {**driver(), "metadata": {"name": "d"}}
    same, other = {**old, "metadata": {"name": "d"}}, {**driver(requiresRepublish=True), "metadata": {"name": "d"}}
    again = {**driver(), "metadata": {"name": "d", "generation": 1}}
    csi_driver.KIND.prepare_update(same, old)
    csi_driver.KIND.prepare_update(other, old)
    assert ("generation" in same["metadata"], other["metadata"]["generation"]) == (False, 1)
    csi_driver.KIND.prepare_update(again, other)
    assert again["metadata"]["generation"] == 2
