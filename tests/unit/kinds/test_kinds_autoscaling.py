"""HorizontalPodAutoscalers: what their specs may say, and what v1 makes of v2."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from minikube_py.machinery.kinds.autoscaling import horizontal_pod_autoscaler_v1 as v1
from minikube_py.machinery.kinds.autoscaling import horizontal_pod_autoscaler_v2 as v2
from minikube_py.machinery.kinds.autoscaling.conversion import from_v2, to_v2
from minikube_py.machinery.objects import Object, thaw

PREFIX = "autoscaling.alpha.kubernetes.io/"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
SERVICE = {"kind": "Service", "name": "s"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
AVERAGE = {"type": "AverageValue", "averageValue": "5"}


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}".removeprefix("spec.") for error in errors]


def spec(**fields: Any) -> Object:
    return {"spec": {"minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": TARGET, **fields}}


def metric(**fields: Any) -> Object:
    return spec(metrics=[fields])


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        pytest.param(spec(), [], id="valid"),
        pytest.param(
            metric(),
            [
                "metrics[0].type: Required value: must specify a metric source type",
                'metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", '
                '"Pods", "Resource"',
                'metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", '
                '"Pods", "Resource"',
            ],
            id="no type",
        ),
        pytest.param(
            metric(type="Resource", pods={"metric": {"name": "m"}, "target": {"type": "AverageValue"}}),
            [
                "metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
                "metrics[0].resource: Required value: must populate information for the given metric source",
            ],
            id="the source is checked though the type is another",
        ),
        pytest.param(
            metric(type="Pods", pods={"metric": {"name": "m"}, "target": AVERAGE}, resource={}),
            ["metrics[0].resource: Forbidden: must populate the given metric source only"],
            id="two sources",
        ),
        pytest.param(
            metric(type="Object", object={"describedObject": SERVICE, "metric": {"name": "a/b"}, "target": {}}),
            [
                "metrics[0].object.metric.name: Invalid value: \"a/b\": may not contain '/'",
                "metrics[0].object.target.type: Required value: must specify a metric target type",
                'metrics[0].object.target.type: Invalid value: "": must be either Utilization, Value, or AverageValue',
                "metrics[0].object.target.averageValue: Required value: must set either a target value or averageValue",
            ],
            id="objects may be of the core group",
        ),
        pytest.param(
            metric(
                type="ContainerResource",
                containerResource={
                    "name": "disk",
                    "container": "A",
                    "target": {"type": "Utilization", "averageUtilization": 0},
                },
            ),
            [
                'metrics[0].containerResource.name: Invalid value: "disk": must be a standard resource type or '
                "fully qualified",
                'metrics[0].containerResource.name: Invalid value: "disk": must be a standard resource for containers',
                'metrics[0].containerResource.container: Invalid value: "A": a lowercase RFC 1123 label must consist '
                "of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character "
                "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "metrics[0].containerResource.target.averageUtilization: Invalid value: 0: must be greater than 0",
            ],
            id="a container's resource",
        ),
        pytest.param(
            metric(
                type="External",
                external={"metric": {"name": "m"}, "target": {"type": "Value", "value": "0", "averageValue": "1"}},
            ),
            [
                'metrics[0].external.target.value: Invalid value: "0": must be positive',
                "metrics[0].external.target.value: Forbidden: may not set both a target value for metric and a "
                "per-pod target",
            ],
            id="external",
        ),
        pytest.param(
            spec(scaleTargetRef={"kind": "Pod", "name": "p", "apiVersion": "a/b/c"}),
            ['scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'],
            id="version",
        ),
        pytest.param(spec(scaleTargetRef={"kind": "ReplicationController", "name": "r"}), [], id="core version"),
    ],
)
def test_specs(made: Object, wanted: list[str]) -> None:
    assert told(v2.KIND.validate(made)) == wanted


def test_no_policies_are_not_defaulted() -> None:
    made = spec(behavior={"scaleUp": {"policies": []}, "scaleDown": {}})
    v2.KIND.default(made)
    assert told(v2.KIND.validate(made)) == [
        "behavior.scaleUp.policies: Required value: must specify at least one Policy"
    ]


def test_an_update_may_keep_what_it_found() -> None:
    old = spec(minReplicas=0, scaleTargetRef={"kind": "Odd", "name": "o"}, metrics=[CPU])
    assert told(v2.KIND.validate_update(thaw(old), old)) == [
        "metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas"
    ]
    moved = spec(scaleTargetRef={"kind": "Other", "name": "o"})
    assert told(v2.KIND.validate_update(moved, old)) == [
        'scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group'
    ]


METRICS: list[tuple[Object, str]] = [
    (
        {"type": "Pods", "pods": {"metric": {"name": "m", "selector": {"matchLabels": {"b": "1", "a": "<"}}},
                                  "target": AVERAGE}},
        '{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"5",'
        '"selector":{"matchLabels":{"a":"\\u003c","b":"1"}}}}',
    ),
    (
        {"type": "Resource", "resource": {"name": "memory", "target": AVERAGE}},
        '{"type":"Resource","resource":{"name":"memory","targetAverageValue":"5"}}',
    ),
    (
        {"type": "ContainerResource",
         "containerResource": {"name": "cpu", "container": "c",
                               "target": {"type": "Utilization", "averageUtilization": 9}}},
        '{"type":"ContainerResource","containerResource":{"name":"cpu","targetAverageUtilization":9,"container":"c"}}',
    ),
    (
        {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "30"}}},
        '{"type":"External","external":{"metricName":"q","targetValue":"30"}}',
    ),
    (
        {"type": "Object",
         "object": {"describedObject": {"apiVersion": "v1", **SERVICE}, "metric": {"name": "r"},
                    "target": {"type": "Value", "value": "2k"}}},
        '{"type":"Object","object":{"target":{"kind":"Service","name":"s","apiVersion":"v1"},"metricName":"r",'
        '"targetValue":"2k"}}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("of_v2", "text"), METRICS, ids=[of_v2["type"] for of_v2, _ in METRICS])
def test_metrics_travel_in_the_form_of_v1(of_v2: Object, text: str) -> None:
    stored = {"metadata": {"name": "a"}, **spec(metrics=[CPU, of_v2])}
    old = from_v2(stored)
    assert old["spec"]["targetCPUUtilizationPercentage"] == 70
    assert old["metadata"]["annotations"] == {f"{PREFIX}metrics": f"[{text}]"}
    back = to_v2(thaw(old))
    assert back["spec"]["metrics"] == [of_v2, CPU]
    assert "annotations" not in back["metadata"]


def test_status_and_behavior_travel() -> None:
    rules = {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}
    stored = {"metadata": {}, **spec(metrics=[CPU], behavior={"scaleUp": rules})}
    condition = {"type": "AbleToScale", "status": "True", "reason": "R"}
    stored["status"] = {
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}],
        "conditions": [condition],
    }
    old = from_v2(stored)
    assert old["status"] == {"currentReplicas": 0, "desiredReplicas": 0, "currentCPUUtilizationPercentage": 7}
    notes = {key.removeprefix(PREFIX): value for key, value in old["metadata"]["annotations"].items()}
    assert notes == {
        "behavior": '{"ScaleUp":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max","Policies":[{"Type":"Pods",'
        '"Value":4,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":null}',
        "current-metrics": '[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":7,'
        '"currentAverageValue":"0"}}]',
        "conditions": '[{"type":"AbleToScale","status":"True","lastTransitionTime":null,"reason":"R"}]',
    }
    back = to_v2(thaw(old))
    assert back["spec"] == stored["spec"]
    assert back["status"]["currentMetrics"][0]["resource"]["current"] == {
        "averageValue": "0", "averageUtilization": 7,
    }  # fmt: skip


def test_what_nobody_can_read_says_nothing() -> None:
    made = {"metadata": {"annotations": {f"{PREFIX}metrics": "{", f"{PREFIX}behavior": "[]"}}, **spec()}
    back = to_v2(made)
    assert back["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert "behavior" not in back["spec"]


def test_stored_amounts_and_behaviors_are_those_of_v2() -> None:
    pods = {"type": "Pods", "pods": {"metricName": "m", "targetAverageValue": "0.5"}}
    notes = {
        f"{PREFIX}metrics": orjson.dumps([pods]).decode(),
        f"{PREFIX}behavior": '{"scaledown":{"policies":[{"type":"Pods","value":1,"periodSeconds":5}]}}',
    }
    to_stored = v1.KIND.to_storage
    assert to_stored is not None
    stored = to_stored({"metadata": {"annotations": notes}, **spec()})
    assert stored["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == "500m"
    assert stored["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Max"
    assert len(stored["spec"]["behavior"]["scaleUp"]["policies"]) == 2
