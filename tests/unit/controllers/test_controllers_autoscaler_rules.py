"""What metrics ask for, and what the rules make of it: the pure parts of the horizontal pod autoscaler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from minikube_py.components.controllers.horizontal_pod_autoscaler.metrics import Sample, Samples, Unmeasured
from minikube_py.components.controllers.horizontal_pod_autoscaler.replicas import (
    Situation,
    Tolerances,
    by_average,
    by_share,
    by_total,
    by_utilization,
)
from minikube_py.components.controllers.horizontal_pod_autoscaler.rules import History, decide
from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import rfc3339

NOW = 1_800_000_000.0
OLD = rfc3339(NOW - 3600)


def pod(
    name: str, *, phase: str = "Running", ready: bool | None = True, since: str = OLD, start: str = OLD, cpu: str = "1"
) -> Object:
    conditions = []
    if ready is not None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}]
    container = {"name": "c", "resources": {"requests": {"cpu": cpu} if cpu else {}}}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container]},
        "status": {"phase": phase, "startTime": start, "conditions": conditions},
    }


def situation(pods: list[Object], replicas: int | None = None, tolerances: Tolerances | None = None) -> Situation:
    return Situation(len(pods) if replicas is None else replicas, pods, tolerances or Tolerances(), NOW)


def samples(**milli: int) -> Samples:
    return {name: Sample(value, NOW) for name, value in milli.items()}


YOUNG = rfc3339(NOW - 60)
DELETED = pod("d")
DELETED["metadata"]["deletionTimestamp"] = OLD
UTILIZATION: dict[str, tuple[list[Object], Samples, int, int]] = {
    "up": ([pod("a"), pod("b")], samples(a=900, b=900), 50, 4),
    "up, rounded up": ([pod("a"), pod("b")], samples(a=600, b=620), 50, 3),
    "down": ([pod("a"), pod("b"), pod("c")], samples(a=100, b=100, c=100), 50, 1),
    "within the tolerance": ([pod("a"), pod("b")], samples(a=540, b=540), 50, 2),
    "a pending pod counts as idle when scaling up": ([pod("a"), pod("b", phase="Pending")], samples(a=1200), 50, 3),
    "a pending pod does not count when scaling down": (
        [pod("a"), pod("b"), pod("c", phase="Pending")], samples(a=200, b=200), 50, 1),
    "idle pods never turn scaling up around": (
        [pod("a"), pod("b", phase="Pending"), pod("c", phase="Pending")], samples(a=600), 50, 3),
    "a missing sample counts as loaded when scaling down": ([pod("a"), pod("b")], samples(a=100), 90, 2),
    "a missing sample counts as idle when scaling up": ([pod("a"), pod("b")], samples(a=1500), 50, 3),
    "a pod that starts counts as idle": (
        [pod("a"), pod("b", ready=False, since=YOUNG, start=YOUNG)], samples(a=1200, b=4000), 50, 3),
    "a sample from before a young pod was ready counts as none": (
        [pod("a"), pod("b", since=rfc3339(NOW - 30), start=YOUNG)], samples(a=1200, b=4000), 50, 3),
    "a pod that was never ready does not count": ([pod("a"), pod("b", ready=False)], samples(a=500, b=4000), 50, 2),
    "a pod that became unready later counts": (
        [pod("a"), pod("b", ready=False, since=YOUNG)], samples(a=1000, b=1000), 50, 4),
    "pods on their way out and failed ones do not count": (
        [pod("a"), DELETED, pod("f", phase="Failed")], samples(a=1000, d=9000, f=9000), 50, 2),
}  # fmt: skip


def test_how_long_starts_count_can_be_told() -> None:
    pods = [pod("a"), pod("b", ready=False, since=YOUNG, start=YOUNG)]  # 60 seconds old, never ready
    measured = samples(a=1200, b=4000)
    for told, wanted in (
        (AutoscalerSettings(), 3),
        (AutoscalerSettings(cpu_initialization_seconds=30.0), 3),
        (AutoscalerSettings(cpu_initialization_seconds=30.0, initial_readiness_seconds=0.0), 11),
    ):
        found = by_utilization(replace(situation(pods), settings=told), measured, "cpu", "", 50)
        assert found[0] == wanted, told


@pytest.mark.parametrize("name", UTILIZATION)
def test_replicas_by_utilization(name: str) -> None:
    pods, measured, target, wanted = UTILIZATION[name]
    assert by_utilization(situation(pods), measured, "cpu", "", target)[0] == wanted


def test_utilization_is_told_over_all_pods_that_count() -> None:
    pods = [pod("a", cpu="500m"), pod("b", cpu="1500m")]
    assert by_utilization(situation(pods), samples(a=400, b=1000), "cpu", "", 70) == (2, 70, 700)


def test_requests_of_a_container_a_sidecar_and_a_whole_pod() -> None:
    sidecar = pod("a", cpu="1")
    extra = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
    once = {"name": "o", "resources": {}}
    sidecar["spec"]["initContainers"] = [once, extra]
    assert by_utilization(situation([sidecar]), samples(a=1000), "cpu", "", 50)[1] == 50
    assert by_utilization(situation([sidecar]), samples(a=1000), "cpu", "c", 50)[1] == 100
    whole = pod("a", cpu="")
    whole["spec"]["resources"] = {"requests": {"cpu": "4"}}
    assert by_utilization(situation([whole]), samples(a=1000), "cpu", "", 50)[1] == 25


@pytest.mark.parametrize(
    ("pods", "measured", "text"),
    [
        ([], {}, "no pods returned by selector while calculating replica count"),
        ([pod("a", phase="Pending")], samples(a=1),
         "did not receive metrics for targeted pods (pods might be unready)"),
        ([pod("a", cpu="")], samples(a=1), "missing request for cpu in container c of Pod a"),
        ([pod("a")], samples(other=1), "no metrics returned matched known pods"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed(pods: list[Object], measured: Samples, text: str) -> None:
    with pytest.raises(Unmeasured) as failure:
        by_utilization(situation(pods), measured, "cpu", "", 50)
    assert str(failure.value) == text


def test_replicas_by_average_total_and_share() -> None:
    pods = [pod("a"), pod("b")]
    assert by_average(situation(pods), samples(a=3000, b=5000), "", 2000) == (4, 4000)
    assert by_average(situation(pods), samples(a=3000), "", 2000) == (2, 3000)  # b counts as idle: 0.75 turns around
    assert by_total(situation(pods), 5000, 2000) == 5
    assert by_total(situation(pods), 2100, 2000) == 2
    assert by_total(situation([], 0), 5000, 2000) == 3
    assert by_total(situation([*pods, pod("c", ready=False)]), 4000, 2000) == 4
    with pytest.raises(Unmeasured, match="unable to calculate ready pods: no pods returned"):
        by_total(situation([], 1), 5000, 2000)
    assert by_share(2, Tolerances(), 9000, 2000) == (5, 4500)
    assert by_share(2, Tolerances(), 4100, 2000) == (2, 2050)
    assert by_share(0, Tolerances(), 4100, 2000) == (3, 4100)


def test_tolerances_differ_by_direction() -> None:
    pods = [pod("a"), pod("b")]
    eager = Tolerances(down=0.0, up=0.5)
    assert by_average(situation(pods, tolerances=eager), samples(a=1400, b=1400), "", 1000)[0] == 2
    assert by_average(situation(pods, tolerances=eager), samples(a=450, b=450), "", 1000)[0] == 1


UP: Object = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
              "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15},
                           {"type": "Percent", "value": 100, "periodSeconds": 15}]}  # fmt: skip
DOWN: Object = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


def behavior(up: Mapping[str, Any] | None = None, down: Mapping[str, Any] | None = None) -> Object:
    return {"scaleUp": {**UP, **(up or {})}, "scaleDown": {**DOWN, **(down or {})}}


def pods_in(value: int, seconds: int) -> list[Object]:
    return [{"type": "Pods", "value": value, "periodSeconds": seconds}]


LIMITS: dict[str, tuple[int, int, Object | None, int, str]] = {
    "in range": (3, 5, None, 5, "DesiredWithinRange"),
    "not more than doubled": (3, 9, None, 6, "ScaleUpLimit"),
    "four at least": (1, 9, None, 4, "ScaleUpLimit"),
    "maximum": (8, 15, None, 10, "TooManyReplicas"),
    "minimum": (3, 1, None, 2, "TooFewReplicas"),
    "standard behavior": (2, 9, behavior(), 6, "ScaleUpLimit"),
    "standard behavior doubles": (5, 11, behavior(), 10, "TooManyReplicas"),
    "least of the policies": (2, 9, behavior({"selectPolicy": "Min"}), 4, "ScaleUpLimit"),
    "no scaling up": (2, 9, behavior({"selectPolicy": "Disabled"}), 2, "ScaleUpLimit"),
    "a percentage is rounded up": (
        2, 9, behavior({"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}), 3, "ScaleUpLimit"),
    "down at once": (9, 2, behavior(down={"stabilizationWindowSeconds": 0}), 2, "DesiredWithinRange"),
    "down by pods": (
        9, 2, behavior(down={"stabilizationWindowSeconds": 0, "policies": pods_in(2, 60)}), 7, "ScaleDownLimit"),
    "down by percent": (
        9, 2, behavior(down={"stabilizationWindowSeconds": 0,
                             "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]}), 4,
        "ScaleDownLimit"),
    "no scaling down": (
        9, 2, behavior(down={"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}), 9, "ScaleDownLimit"),
    "behavior's minimum": (3, 0, behavior(down={"stabilizationWindowSeconds": 0}), 2, "TooFewReplicas"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    current, wanted, rules, replicas, reason = LIMITS[name]
    found = decide(History(), current, wanted, 2, 10, rules, NOW)
    assert (found.replicas, found.limit[0], found.limited) == (replicas, reason, reason != "DesiredWithinRange")
    assert found.able[0] == "ReadyForNewScale"


def test_scaling_down_waits_for_the_highest_recommendation_of_five_minutes() -> None:
    for rules in (None, behavior()):
        history = History([(NOW - 290, 7), (NOW - 400, 9)])
        found = decide(history, 8, 3, 1, 10, rules, NOW)
        assert (found.replicas, found.able[0]) == (7, "ScaleDownStabilized")
        assert decide(history, 7, 3, 1, 10, rules, NOW + 11).replicas == 3


def test_scaling_up_waits_for_the_lowest_recommendation_of_its_window() -> None:
    history = History([(NOW - 50, 3)])
    rules = behavior({"stabilizationWindowSeconds": 60})
    found = decide(history, 3, 6, 1, 10, rules, NOW)
    assert (found.replicas, found.able[0]) == (3, "ScaleUpStabilized")
    assert decide(history, 3, 6, 1, 10, rules, NOW + 20).replicas == 6


def test_policies_count_the_changes_of_their_period() -> None:
    history, rules = History(), behavior({"policies": pods_in(2, 60)})
    assert decide(history, 1, 9, 1, 10, rules, NOW).replicas == 3
    history.changed(1, 3, rules, NOW)
    assert decide(history, 3, 9, 1, 10, rules, NOW + 30).replicas == 3
    assert decide(history, 3, 9, 1, 10, rules, NOW + 61).replicas == 5
    history.changed(5, 4, rules, NOW + 70)  # what went down meanwhile may come back
    assert decide(history, 4, 9, 1, 10, rules, NOW + 71).replicas == 7


def test_history_forgets_what_no_window_reaches() -> None:
    history, rules = History(), behavior()
    for second in range(0, 3600, 15):
        decide(history, 3, 3, 1, 10, rules, NOW + second)
        history.changed(3, 4, rules, NOW + second)
        history.changed(4, 3, rules, NOW + second)
    assert len(history.recommendations) <= 22
    assert len(history.ups) <= 2 and len(history.downs) <= 2
