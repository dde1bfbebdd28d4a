"""Workloads: names, strategies and counts, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.apps import controller_revision, daemon_set, deployment, replica_set, stateful_set
from minikube_py.machinery.kinds.common.metadata import metadata_errors
from minikube_py.machinery.kinds.core import replication_controller
from minikube_py.machinery.objects import Object, RawObject, thaw


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
            deployment.KIND,
            {"strategy": rolling("0%", "00%")},
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
            ],
            id="percentages of nothing",
        ),
        pytest.param(
            stateful_set.KIND,
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            [
                'spec.selector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator',
                'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"Like"}]}',
            ],
            id="a selector that is none",
        ),
        pytest.param(
            stateful_set.KIND,
            {"pod": {"restartPolicy": "Never"}},
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
            id="replicas that end",
        ),
        pytest.param(
            stateful_set.KIND,
            {
                "pod": {"containers": [{"name": "c", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]},
                "volumeClaimTemplates": [
                    {
                        "metadata": {"name": "data"},
                        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                    }
                ],
            },
            [],
            id="mounts of volumes that the claims bring, and a container that is judged with its pod",
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


@pytest.mark.parametrize(("kind", "times"), [(daemon_set.KIND, 2), (replica_set.KIND, 2), (deployment.KIND, 1)])
def test_some_strategies_check_a_changed_spec_twice(kind: Kind, times: int) -> None:
    old = workload(kind)
    new = workload(kind, minReadySeconds=-1)
    once = ["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"]
    assert told(kind.validate_update(new, old)) == once * times


@pytest.mark.parametrize("kind", [deployment.KIND, replica_set.KIND], ids=["deployment", "replica set"])
def test_pods_that_go_are_counted_too(kind: Kind) -> None:
    assert told(kind.validate_status({"status": {"terminatingReplicas": -1}}, {})) == [
        "status.terminatingReplicas: Invalid value: -1: must be greater than or equal to 0"
    ]


def test_how_many_may_be_missing_is_kept_only_where_it_was() -> None:
    """``maxUnavailable`` of StatefulSets: its feature gate is off in v1.36."""
    fields: Object = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}}
    new = workload(stateful_set.KIND, **thaw(fields))
    stateful_set.KIND.prepare_create(new)
    assert new["spec"]["updateStrategy"]["rollingUpdate"] == {"partition": 0}
    again, old = workload(stateful_set.KIND, **thaw(fields)), workload(stateful_set.KIND, **thaw(fields))
    stateful_set.KIND.prepare_update(again, old)
    assert again["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 2


def at(generation: int, made: Object) -> Object:
    return {**made, "metadata": {**made["metadata"], "generation": generation}}


OLD_LABEL = {"nodeSelector": {"beta.kubernetes.io/arch": "x"}}


@pytest.mark.parametrize(
    "kind", [deployment.KIND, replica_set.KIND, stateful_set.KIND], ids=["deployment", "replica set", "stateful set"]
)
def test_any_change_of_the_spec_warns_of_the_template_again(kind: Kind) -> None:
    made = workload(kind, pod=OLD_LABEL)
    text = 'deprecated since v1.14; use "kubernetes.io/arch" instead'
    wanted = [f"spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: {text}"]
    assert kind.warnings(made, None) == wanted
    assert kind.warnings(at(2, made), at(1, made)) == wanted
    assert kind.warnings(at(1, made), at(1, made)) == []


def test_claims_of_stateful_sets_warn_under_an_odd_path_after_a_change() -> None:
    claim = {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": "1m"}}}}
    made = workload(stateful_set.KIND, volumeClaimTemplates=[claim])
    text = 'resources.requests[storage]: fractional byte value "1m" is invalid, must be an integer'
    assert stateful_set.KIND.warnings(made, None) == [f"spec.volumeClaimTemplates[0].{text}"]
    assert stateful_set.KIND.warnings(made, made) == [f"spec.volumeClaimTemplates[0].Spec.{text}"]


def test_a_revision_keeps_its_data() -> None:
    assert told(controller_revision.KIND.validate_update({"revision": 1}, {"data": {"a": 1}, "revision": 1})) == [
        "data: Required value: data is mandatory",
        "data: Invalid value: null: field is immutable",
    ]


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        pytest.param(
            {"a": 1, "b": 2}, RawObject({"b": 2, "a": 1}, b'{"b": 2, "a": 1}'), False, id="Go's form comes back"
        ),
        pytest.param({"a": 1}, RawObject({"a": 2}, b'{"a": 2}'), True, id="another value"),
        pytest.param(RawObject({"a": 1}, b'{"a": 1}'), {"a": 1}, True, id="a client's form is lost"),
    ],
)
def test_a_revision_keeps_the_form_of_its_data(before: Object, after: Object, refused: bool) -> None:
    old, new = {"data": before, "revision": 1}, {"data": after, "revision": 1}
    controller_revision.KIND.prepare_update(new, old)
    assert bool(controller_revision.KIND.validate_update(new, old)) is refused
    assert refused or (new["data"] == before and type(new["data"]) is type(before) and new["data"] is not before)


@pytest.mark.parametrize(("noted", "kept"), [(None, "1"), ("0", "1"), ("7", "7"), ("x", "1")])
def test_a_daemon_set_goes_on_counting_its_templates(noted: str | None, kept: str) -> None:
    key = daemon_set.TEMPLATE_GENERATION
    draft: Object = {"metadata": {"name": "d", "annotations": {key: noted} if noted else {}}, "spec": {}}
    daemon_set.KIND.default(draft)
    daemon_set.KIND.prepare_create(draft)
    assert draft["metadata"]["annotations"][key] == kept
