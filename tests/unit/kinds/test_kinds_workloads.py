"""Workloads: names, strategies and counts, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.apps import daemon_set, deployment, stateful_set
from minikube_py.machinery.kinds.common.metadata import metadata_errors
from minikube_py.machinery.kinds.core import replication_controller
from minikube_py.machinery.objects import Object


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def workload(kind: Kind, *, pod: Object | None = None, **spec: Any) -> Object:
    labels = {"a": "b"}
    selector: Object = labels if kind is replication_controller.KIND else {"matchLabels": labels}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}], **(pod or {})}}
    made = {"metadata": {"name": "w"}, "spec": {"selector": selector, "template": template, **spec}}
    assert kind.default is not None
    kind.default(made)
    return made


def rolling(unavailable: int | str, surge: int | str) -> Object:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        pytest.param(deployment.KIND, {}, [], id="deployment"),
        pytest.param(stateful_set.KIND, {}, [], id="stateful set"),
        pytest.param(daemon_set.KIND, {}, [], id="daemon set"),
        pytest.param(replication_controller.KIND, {}, [], id="replication controller"),
        pytest.param(
            daemon_set.KIND,
            {"updateStrategy": rolling("150%", 1)},
            [
                'spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "150%": '
                "must not be greater than 100%",
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is "
                "non-zero",
            ],
            id="either more or fewer daemons",
        ),
        pytest.param(
            daemon_set.KIND,
            {"updateStrategy": rolling(0, 0)},
            ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
            id="an update that never moves",
        ),
        pytest.param(
            replication_controller.KIND,
            {"pod": {"activeDeadlineSeconds": 5}},
            [
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController "
                "is not Supported"
            ],
            id="a deadline for replicas",
        ),
        pytest.param(
            stateful_set.KIND,
            {"pod": {"restartPolicy": "Never"}},
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
            id="replicas that end",
        ),
    ],
)
def test_specs(kind: Kind, fields: Object, wanted: list[str]) -> None:
    assert told(kind.validate(workload(kind, **fields))) == wanted


def test_a_wrong_strategy_is_shown_whole() -> None:
    made = workload(deployment.KIND, strategy={"type": "Sudden"})
    (error,) = deployment.KIND.validate(made)
    assert (error.field, error.type) == ("spec.strategy", "FieldValueNotSupported")
    assert error.body().endswith('supported values: "Recreate", "RollingUpdate"')


@pytest.mark.parametrize(("kind", "count"), [(stateful_set.KIND, 1), (deployment.KIND, 0), (daemon_set.KIND, 0)])
def test_names_of_stateful_sets_are_labels(kind: Kind, count: int) -> None:
    named = {"metadata": {"name": "a.b", "namespace": "x"}}
    assert [error.detail for error in metadata_errors(kind, named)] == ["must not contain dots"] * count


def test_collisions_are_only_counted_up() -> None:
    before = {"status": {"collisionCount": 2}}
    assert stateful_set.KIND.validate_status is not None
    assert told(stateful_set.KIND.validate_status({"status": {"collisionCount": 1}}, before)) == [
        "status.collisionCount: Invalid value: 1: cannot be decremented"
    ]
