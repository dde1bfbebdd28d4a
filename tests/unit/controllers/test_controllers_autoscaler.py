"""The horizontal pod autoscaler's loop: metrics APIs in, scale and status out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from controllers_world import NAMESPACE, World, served

from minikube_py.components.controllers.horizontal_pod_autoscaler.controller import (
    HorizontalPodAutoscalerController,
)
from minikube_py.components.controllers.horizontal_pod_autoscaler.proposals import go_label_selector
from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, PODS, Resource
from minikube_py.machinery.times import rfc3339

LABELS = {"app": "web"}
NO_API = "the server could not find the requested resource (get pods.metrics.k8s.io)"
MACHINES = Resource("example.com", "v1", "machines", "Machine")


@dataclass
class FakeMetrics:
    """Aggregated servers of metrics: answers by path, and what was asked."""

    answers: dict[str, Object] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def serves(self, group: str, version: str) -> bool:
        return f"{group}/{version}" in self.groups

    async def read(self, path: str, query: Mapping[str, str]) -> Object:
        self.asked.append((path, query))
        if path not in self.answers:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return self.answers[path]

    def cpu(self, world: World, *milli: int) -> None:
        """What metrics-server would say of the pods, in the order of their making."""
        items = [
            {
                "metadata": {"name": f"p{number}", "namespace": NAMESPACE},
                "timestamp": rfc3339(world.clock.now()),
                "window": "15s",
                "containers": [{"name": "c", "usage": {"cpu": f"{value}m", "memory": "10Mi"}}],
            }
            for number, value in enumerate(milli)
        ]
        self.answers["/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"] = {"items": items}


@pytest.fixture
async def metrics(world: World) -> FakeMetrics:
    made = FakeMetrics()
    settings = replace(world.kit.settings, metrics=made)
    world.kit = replace(world.kit, settings=settings, resources=lambda: [*served(), MACHINES])
    return made


async def deploy(world: World, replicas: int, *, name: str = "web", resource: Resource = DEPLOYMENTS) -> None:
    """A target with pods that have been running for long."""
    target = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": replicas, "selector": {"matchLabels": LABELS}},
    }
    made = await world.client.create(resource, target, NAMESPACE)
    await world.client.update(resource, {**thaw(made), "status": {"replicas": replicas}}, subresource="status")
    stamp = rfc3339(world.clock.now() - 3600)
    for number in range(replicas):
        container = {"name": "c", "resources": {"requests": {"cpu": "1"}}}
        pod = {
            "metadata": {"name": f"p{number}", "namespace": NAMESPACE, "labels": LABELS},
            "spec": {"containers": [container]},
        }
        made = await world.client.create(PODS, pod, NAMESPACE)
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp}
        status = {"phase": "Running", "startTime": stamp, "conditions": [ready]}
        await world.client.update(PODS, {**thaw(made), "status": status}, subresource="status")


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


async def autoscale(world: World, *metrics: Object, name: str = "web", kind: str = "Deployment", **spec: Any) -> None:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": "web"}
    wanted = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 10, "metrics": list(metrics or (CPU,))}
    made = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {**wanted, **spec}}
    await world.client.create(HORIZONTAL_POD_AUTOSCALERS, made, NAMESPACE)


def status(world: World, name: str = "web") -> Object:
    found: Object = world.client.one(HORIZONTAL_POD_AUTOSCALERS, name, NAMESPACE).get("status") or {}
    return found


def conditions(world: World, name: str = "web") -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status(world, name)["conditions"]}


def message(world: World, type: str) -> str:
    return next(str(item["message"]) for item in status(world)["conditions"] if item["type"] == type)


def replicas(world: World, resource: Resource = DEPLOYMENTS) -> int:
    return int(world.client.one(resource, "web", NAMESPACE)["spec"]["replicas"])


def events(world: World) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in world.recorder.events]


async def run(world: World) -> None:
    world.start(HorizontalPodAutoscalerController)
    await world.settle()


async def test_scales_up_and_tells(world: World, metrics: FakeMetrics) -> None:
    await deploy(world, 2)
    metrics.cpu(world, 900, 900)
    await autoscale(world)
    await run(world)
    assert replicas(world) == 4
    found = status(world)
    assert (found["currentReplicas"], found["desiredReplicas"]) == (2, 4)
    assert found["lastScaleTime"] == rfc3339(world.clock.now())
    assert found["currentMetrics"] == [
        {"type": "Resource",
         "resource": {"name": "cpu", "current": {"averageUtilization": 90, "averageValue": "900m"}}}
    ]  # fmt: skip
    assert conditions(world) == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    why = "cpu resource utilization (percentage of request)"
    assert message(world, "ScalingActive") == f"the HPA was able to successfully calculate a replica count from {why}"
    assert events(world) == [("SuccessfulRescale", f"New size: 4; reason: {why} above target")]
    assert metrics.asked[0][1] == {"labelSelector": "app=web"}


async def test_looks_again_every_fifteen_seconds_and_scales_down_after_five_minutes(
    world: World, metrics: FakeMetrics
) -> None:
    await deploy(world, 4)
    metrics.cpu(world, 100, 100, 100, 100)
    await autoscale(world)
    await run(world)
    assert replicas(world) == 4
    assert conditions(world)["AbleToScale"] == ("True", "ScaleDownStabilized")
    await world.clock.advance(60)
    assert len(metrics.asked) == 5
    await world.clock.advance(300)
    assert replicas(world) == 1
    assert events(world)[-1] == ("SuccessfulRescale", "New size: 1; reason: All metrics below target")


async def test_looks_waits_and_tolerates_as_it_is_told(world: World, metrics: FakeMetrics) -> None:
    told = AutoscalerSettings(sync_seconds=40.0, tolerance=0.5, downscale_stabilization_seconds=100.0)
    world.kit = replace(world.kit, settings=replace(world.kit.settings, autoscaling=told))
    await deploy(world, 2)
    metrics.cpu(world, 700, 700)  # of 500: within the tolerance
    await autoscale(world)
    await run(world)
    assert replicas(world) == 2
    await world.clock.advance(39)
    assert len(metrics.asked) == 1
    await world.clock.advance(1)
    assert len(metrics.asked) == 2
    metrics.cpu(world, 100, 100)
    await world.clock.advance(80)
    assert replicas(world) == 2, "two was recommended 80 seconds ago"
    await world.clock.advance(80)
    assert replicas(world) == 1


async def test_without_a_metrics_api(world: World, metrics: FakeMetrics) -> None:
    await deploy(world, 2)
    await autoscale(world)
    await run(world)
    detail = (
        "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource "
        f"metrics API: {NO_API}"
    )
    assert conditions(world)["ScalingActive"] == ("False", "FailedGetResourceMetric")
    assert message(world, "ScalingActive") == f"the HPA was unable to compute the replica count: {detail}"
    assert status(world)["currentReplicas"] == 2
    assert status(world)["currentMetrics"] == [{"type": ""}]
    first = f"failed to get cpu resource metric value: {detail}"
    assert events(world) == [
        ("FailedGetResourceMetric", detail),
        ("FailedComputeMetricsReplicas", f"invalid metrics (1 invalid out of 1), first error is: {first}"),
    ]
    before = world.client.one(HORIZONTAL_POD_AUTOSCALERS, "web", NAMESPACE)["metadata"]["resourceVersion"]
    await world.clock.advance(60)
    after = world.client.one(HORIZONTAL_POD_AUTOSCALERS, "web", NAMESPACE)["metadata"]["resourceVersion"]
    assert after == before, "a status that is the same is not written again"
    metrics.cpu(world, 900, 900)
    await world.clock.advance(15)
    assert replicas(world) == 4


async def test_a_failed_metric_stops_scaling_down_only(world: World, metrics: FakeMetrics) -> None:
    await deploy(world, 2)
    external = {"type": "External", "external": {"metric": {"name": "queue"},
                "target": {"type": "Value", "value": "1"}}}  # fmt: skip
    metrics.cpu(world, 100, 100)
    await autoscale(world, CPU, external)
    await run(world)
    assert replicas(world) == 2
    assert conditions(world)["ScalingActive"] == ("False", "FailedGetExternalMetric")
    assert events(world)[0][1] == (
        "unable to get external metric default/queue/nil: unable to fetch metrics from external metrics API: the "
        "server could not find the requested resource (get queue.external.metrics.k8s.io)"
    )
    metrics.cpu(world, 900, 900)
    await world.clock.advance(15)
    assert replicas(world) == 4
    assert [item["type"] for item in status(world)["currentMetrics"]] == ["Resource", ""]


OTHERS: dict[str, tuple[Object, str, Object, int, Object]] = {
    "pods": (
        {"type": "Pods", "pods": {"metric": {"name": "hits", "selector": {"matchLabels": {"verb": "GET"}}},
                                  "target": {"type": "AverageValue", "averageValue": "10"}}},
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/hits",
        {"items": [{"describedObject": {"name": f"p{number}"}, "value": "20"} for number in range(2)]},
        4,
        {"averageValue": "20"},
    ),
    "object": (
        {"type": "Object", "object": {"metric": {"name": "hits"}, "target": {"type": "Value", "value": "10"},
                                      "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"}}},
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/web/hits",
        {"items": [{"value": "15"}]},
        3,
        {"value": "15"},
    ),
    "object, per pod": (
        {"type": "Object", "object": {
            "metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "10"},
            "describedObject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}},
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/deployments.apps/web/hits",
        {"items": [{"value": "25"}]},
        3,
        {"averageValue": "12500m"},
    ),
    "object, the namespace": (
        {"type": "Object", "object": {"metric": {"name": "hits"}, "target": {"type": "Value", "value": "10"},
                                      "describedObject": {"apiVersion": "v1", "kind": "Namespace", "name": "x"}}},
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/metrics/hits",
        {"items": [{"value": "20"}]},
        4,
        {"value": "20"},
    ),
    "external": (
        {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"}}},
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue",
        {"items": [{"value": "10"}, {"value": "5500m"}]},
        4,
        {"value": "15500m"},
    ),
    "external, per pod": (
        {"type": "External", "external": {"metric": {"name": "queue"},
                                          "target": {"type": "AverageValue", "averageValue": "10"}}},
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue",
        {"items": [{"value": "30"}]},
        3,
        {"averageValue": "15"},
    ),
    "container": (
        {"type": "ContainerResource", "containerResource": {
            "name": "memory", "container": "c", "target": {"type": "AverageValue", "averageValue": "5Mi"}}},
        "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods",
        {"items": [{"metadata": {"name": f"p{number}", "namespace": "default"},
                    "containers": [{"name": "other", "usage": {"memory": "1Gi"}},
                                   {"name": "c", "usage": {"memory": "10Mi"}}]} for number in range(2)]},
        4,
        {"averageValue": "10485760"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
async def test_other_metrics(world: World, metrics: FakeMetrics, name: str) -> None:
    metric, path, answer, wanted, current = OTHERS[name]
    await deploy(world, 2)
    metrics.groups = {"custom.metrics.k8s.io/v1beta2", "custom.metrics.k8s.io/v1beta1"}
    metrics.answers[path] = answer
    await autoscale(world, metric)
    await run(world)
    assert events(world)[-1][0] == "SuccessfulRescale", events(world)
    assert replicas(world) == wanted
    [entry] = status(world)["currentMetrics"]
    assert entry[metric["type"][0].lower() + metric["type"][1:]]["current"] == current
    if name == "pods":
        assert metrics.asked[-1][1] == {"labelSelector": "app=web", "metricLabelSelector": "verb=GET"}


async def test_custom_kinds_are_scaled(world: World, metrics: FakeMetrics) -> None:
    await deploy(world, 2, resource=MACHINES)
    metrics.cpu(world, 900, 900)
    await autoscale(world, scaleTargetRef={"apiVersion": "example.com/v1", "kind": "Machine", "name": "web"})
    await run(world)
    assert replicas(world, MACHINES) == 4


@pytest.mark.parametrize(
    ("replicas_now", "spec", "wanted", "reason"),
    [
        (0, {}, 0, "ScalingDisabled"),
        (4, {"maxReplicas": 3}, 3, "Current number of replicas above Spec.MaxReplicas"),
        (1, {"minReplicas": 2}, 2, "Current number of replicas below Spec.MinReplicas"),
    ],
)
async def test_without_looking_at_metrics(
    world: World, metrics: FakeMetrics, replicas_now: int, spec: Object, wanted: int, reason: str
) -> None:
    await deploy(world, replicas_now)
    await autoscale(world, **spec)
    await run(world)
    assert replicas(world) == wanted
    assert not metrics.asked
    if reason == "ScalingDisabled":
        assert conditions(world)["ScalingActive"] == ("False", reason)
    else:
        assert events(world) == [("SuccessfulRescale", f"New size: {wanted}; reason: {reason}")]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}, 'deployments.apps "other" not found'),
        ({"apiVersion": "example.com/v1", "kind": "Nothing", "name": "x"},
         'no matches for kind "Nothing" in group "example.com"'),
        ({"apiVersion": "a/b/c", "kind": "Deployment", "name": "x"}, "unexpected GroupVersion string: a/b/c"),
    ],
)  # fmt: skip
async def test_targets_that_cannot_be_read(world: World, metrics: FakeMetrics, reference: Object, told: str) -> None:
    await autoscale(world, scaleTargetRef=reference)
    await run(world)
    assert conditions(world) == {"AbleToScale": ("False", "FailedGetScale")}
    assert message(world, "AbleToScale") == f"the HPA controller was unable to get the target's current scale: {told}"
    assert events(world) == [("FailedGetScale", told)]


async def test_pods_of_two_autoscalers_are_left_alone(world: World, metrics: FakeMetrics) -> None:
    await deploy(world, 2)
    metrics.cpu(world, 500, 500)
    await autoscale(world)
    await autoscale(world, name="web-too")
    await run(world)
    metrics.cpu(world, 900, 900)
    await world.clock.advance(15)
    assert replicas(world) == 2
    told = "pods by selector app=web are controlled by multiple HPAs: [default/web default/web-too]"
    assert ("AmbiguousSelector", told) in events(world)
    assert conditions(world, "web-too")["ScalingActive"] == ("False", "AmbiguousSelector")
    await world.client.delete(HORIZONTAL_POD_AUTOSCALERS, "web-too", NAMESPACE)
    await world.clock.advance(15)
    assert replicas(world) == 4


async def test_a_target_without_a_selector(world: World, metrics: FakeMetrics) -> None:
    target = {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {"replicas": 1}}
    await world.client.create(MACHINES, target, NAMESPACE)
    await autoscale(world, scaleTargetRef={"apiVersion": "example.com/v1", "kind": "Machine", "name": "web"})
    await run(world)
    assert conditions(world)["ScalingActive"] == ("False", "InvalidSelector")
    assert [reason for reason, _ in events(world)] == ["SelectorRequired", "FailedComputeMetricsReplicas"]


async def test_a_changed_specification_is_looked_at_at_once(world: World, metrics: FakeMetrics) -> None:
    await deploy(world, 2)
    metrics.cpu(world, 500, 500)
    await autoscale(world)
    await run(world)
    await world.client.patch(HORIZONTAL_POD_AUTOSCALERS, "web", {"spec": {"minReplicas": 3}}, NAMESPACE)
    await world.settle()
    assert replicas(world) == 3


def test_label_selectors_as_go_prints_them() -> None:
    assert go_label_selector(None) == "nil"
    given = {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["x"]}]}
    assert go_label_selector(given) == (
        "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{"
        "LabelSelectorRequirement{Key:k,Operator:In,Values:[x],},},}"
    )
