"""PersistentVolumeClaims: sources, updates and statuses, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kinds.core.persistent_volume_claim import KIND
from minikube_py.machinery.objects import Object

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body().splitlines()[0]}" for error in errors]


def claim(*, size: str = "2Gi", status: Object | None = None, annotation: str = "", **spec: Any) -> Object:
    made = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": {"requests": {"storage": size}}}
    meta: Object = {"name": "c", "annotations": {BETA_CLASS: annotation}} if annotation else {"name": "c"}
    return {"metadata": meta, "spec": {**made, **spec}, "status": status or {"phase": "Pending"}}


VOLUME = {"kind": "PersistentVolumeClaim", "name": "other"}
DEFAULT_GROUP = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({"dataSource": VOLUME, "dataSourceRef": VOLUME}, [], id="valid"),
        pytest.param(
            {"accessModes": ["ReadWriteOncePod", "Sometimes", "ReadOnlyMany"]},
            [
                'accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", '
                '"ReadWriteOnce", "ReadWriteOncePod"',
                "accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ],
            id="modes",
        ),
        pytest.param(
            {"dataSource": {"kind": "Pod", "name": "p"}},
            [f'dataSource: Invalid value: "Pod": {DEFAULT_GROUP}'],
            id="a pod is no source",
        ),
        pytest.param(
            {"dataSource": VOLUME, "dataSourceRef": {**VOLUME, "name": "another"}},
            [': Invalid value: "spec.dataSource": must match dataSourceRef'],
            id="two sources",
        ),
        pytest.param(
            {"dataSource": VOLUME, "dataSourceRef": {**VOLUME, "namespace": "n"}},
            [': Invalid value: "spec.dataSource": may not be specified when dataSourceRef.namespace is specified'],
            id="a source elsewhere",
        ),
    ],
)
def test_specs(fields: Object, wanted: list[str]) -> None:
    assert told(KIND.validate(claim(**fields))) == [f"spec.{text}".replace("spec.:", "spec:") for text in wanted]


FROZEN = (
    "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)
BOUND = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
APPLIED = {**BOUND, "currentVolumeAttributesClassName": "g"}
APPLIED_TEXT = "is forbidden when status.currentVolumeAttributesClassName is not nil"
SIZE = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
ANNOTATION = f"metadata.annotations.{BETA_CLASS}: Invalid value: "


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        pytest.param(claim(volumeName="v"), claim(), [], id="bound to a volume"),
        pytest.param(claim(volumeName="w"), claim(volumeName="v"), [FROZEN], id="bound to another"),
        pytest.param(claim(size="3Gi"), claim(), [FROZEN], id="grows before it is bound"),
        pytest.param(claim(size="3Gi", status=BOUND), claim(status=BOUND), [], id="grows"),
        pytest.param(claim(size="1500Mi", status=BOUND), claim(status=BOUND), [], id="takes back what it never got"),
        pytest.param(claim(size="1Gi", status=BOUND), claim(status=BOUND), [SIZE], id="shrinks"),
        pytest.param(claim(storageClassName="c"), claim(), [], id="gets a class"),
        pytest.param(claim(storageClassName="d"), claim(storageClassName="c"), [FROZEN], id="changes its class"),
        pytest.param(claim(storageClassName="c"), claim(annotation="c"), [], id="the annotation's class"),
        pytest.param(
            claim(storageClassName="d", annotation="c"),
            claim(annotation="c"),
            [FROZEN],
            id="not the annotation's class",
        ),
        pytest.param(claim(annotation="d"), claim(annotation="c"), [f'{ANNOTATION}"d": field is immutable'], id="note"),
        pytest.param(claim(volumeAttributesClassName="g"), claim(), [FROZEN], id="gets attributes too early"),
        pytest.param(claim(volumeAttributesClassName="g", status=BOUND), claim(status=BOUND), [], id="gets attributes"),
        pytest.param(
            claim(status=BOUND), claim(volumeAttributesClassName="g", status=BOUND), [], id="takes attributes back"
        ),
        pytest.param(
            claim(status=APPLIED),
            claim(volumeAttributesClassName="g", status=APPLIED),
            [f"spec.volumeAttributesClassName: Forbidden: update to nil {APPLIED_TEXT}"],
            id="loses attributes",
        ),
        pytest.param(
            claim(volumeAttributesClassName="", status=APPLIED),
            claim(volumeAttributesClassName="g", status=APPLIED),
            [f"spec.volumeAttributesClassName: Forbidden: update to empty string {APPLIED_TEXT}"],
            id="empties attributes",
        ),
        pytest.param(
            claim(volumeAttributesClassName="h", status=APPLIED),
            claim(volumeAttributesClassName="g", status=APPLIED),
            [],
            id="changes attributes",
        ),
    ],
)
def test_updates(new: Object, old: Object, wanted: list[str]) -> None:
    assert KIND.validate_update is not None
    assert told(KIND.validate_update(new, old)) == wanted


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        pytest.param({"capacity": {"storage": "1Gi"}}, [], id="valid"),
        pytest.param(
            {"capacity": {"storage": "-1"}},
            ["capacity[storage]: Invalid value: -1: must be a valid resource quantity"],
            id="below zero",
        ),
        pytest.param(
            {"allocatedResources": {"cpu": "1"}},
            ['allocatedResources: Unsupported value: "cpu": supported values: "storage"'],
            id="only storage",
        ),
        pytest.param({"allocatedResources": {"example.com/a": "1"}}, [], id="or a driver's own"),
        pytest.param(
            {"allocatedResourceStatuses": {"storage": "Growing"}},
            [
                'allocatedResourceStatus: Unsupported value: "storage": supported values: '
                '"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", '
                '"NodeResizeInfeasible", "NodeResizePending"'
            ],
            id="states of resizing",
        ),
    ],
)
def test_statuses(status: Object, wanted: list[str]) -> None:
    assert KIND.validate_status is not None
    errors = KIND.validate_status(claim(status=status), claim())
    assert told(errors) == [f"status.{text}" for text in wanted]
