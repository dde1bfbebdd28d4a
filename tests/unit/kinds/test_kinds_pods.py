"""Pods: printer rows, QoS, defaults, grace, updates, in small tables."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.machinery.kinds.common.pod_defaults import image_tag
from minikube_py.machinery.kinds.core import pod_printer, pod_strategy
from minikube_py.machinery.kinds.core.pod import KIND
from minikube_py.machinery.objects import Object, thaw

CREATED = "2026-11-21T06:00:00Z"
NOW = 1795240800.0 + 300


def _pod(status: Object, *, spec: Object | None = None, meta: Object | None = None) -> Object:
    containers: list[Object] = [{"name": "a"}, {"name": "b"}]
    return {
        "metadata": {"name": "p", "creationTimestamp": CREATED, **(meta or {})},
        "spec": {"containers": containers, **(spec or {})},
        "status": status,
    }


def _running(name: str, *, ready: bool = True, restarts: int = 0, last: str = "") -> Object:
    status: Object = {"name": name, "ready": ready, "restartCount": restarts, "state": {"running": {}}}
    if last:
        status["lastState"] = {"terminated": {"finishedAt": last}}
    return status


def _ended(name: str, **terminated: Any) -> Object:
    return {"name": name, "restartCount": 0, "state": {"terminated": {"exitCode": 0, **terminated}}}


def _waiting(name: str, reason: str) -> Object:
    return {"name": name, "restartCount": 0, "state": {"waiting": {"reason": reason}}}


READY = [{"type": "Ready", "status": "True"}]
ROWS = [
    pytest.param(_pod({"phase": "Pending"}), ("0/2", "Pending", "0"), id="pending"),
    pytest.param(
        _pod({"phase": "Running", "containerStatuses": [_running("a"), _running("b")], "conditions": READY}),
        ("2/2", "Running", "0"),
        id="running",
    ),
    pytest.param(
        _pod({"phase": "Running", "containerStatuses": [_running("a"), _ended("b", reason="Completed")]}),
        ("1/2", "NotReady", "0"),
        id="one container completed and the pod is not ready",
    ),
    pytest.param(
        _pod({"phase": "Running", "containerStatuses": [_running("a"), _waiting("b", "CrashLoopBackOff")]}),
        ("1/2", "CrashLoopBackOff", "0"),
        id="crash loop",
    ),
    pytest.param(
        _pod({"phase": "Failed", "containerStatuses": [_ended("a", exitCode=3)]}),
        ("0/2", "ExitCode:3", "0"),
        id="failed without a reason",
    ),
    pytest.param(
        _pod({"phase": "Failed", "containerStatuses": [_ended("a", signal=9, exitCode=137)]}),
        ("0/2", "Signal:9", "0"),
        id="killed by a signal",
    ),
    pytest.param(_pod({"phase": "Failed", "reason": "Evicted"}), ("0/2", "Evicted", "0"), id="evicted"),
    pytest.param(
        _pod(
            {"phase": "Pending", "initContainerStatuses": [_ended("i"), _waiting("j", "PodInitializing")]},
            spec={"initContainers": [{"name": "i"}, {"name": "j"}]},
        ),
        ("0/2", "Init:1/2", "0"),
        id="second init container",
    ),
    pytest.param(
        _pod(
            {"phase": "Pending", "initContainerStatuses": [_waiting("i", "ErrImagePull")]},
            spec={"initContainers": [{"name": "i"}]},
        ),
        ("0/2", "Init:ErrImagePull", "0"),
        id="init image missing",
    ),
    pytest.param(
        _pod(
            {"phase": "Pending", "initContainerStatuses": [_ended("i", exitCode=1, reason="Error")]},
            spec={"initContainers": [{"name": "i"}]},
        ),
        ("0/2", "Init:Error", "0"),
        id="init container failed",
    ),
    pytest.param(
        _pod(
            {
                "phase": "Running",
                "initContainerStatuses": [{**_running("s"), "started": True}],
                "containerStatuses": [_running("a"), _running("b")],
            },
            spec={"initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        ),
        ("3/3", "Running", "0"),
        id="a sidecar counts",
    ),
    pytest.param(
        _pod({"phase": "Running", "containerStatuses": [_running("a", restarts=2, last="2026-11-21T06:00:00Z")]}),
        ("1/2", "Running", "2 (5m ago)"),
        id="restarts tell when",
    ),
    pytest.param(
        _pod({"phase": "Running"}, meta={"deletionTimestamp": CREATED}), ("0/2", "Terminating", "0"), id="terminating"
    ),
    pytest.param(
        _pod({"phase": "Succeeded"}, meta={"deletionTimestamp": CREATED}),
        ("0/2", "Succeeded", "0"),
        id="an ended pod does not terminate",
    ),
    pytest.param(
        _pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
        ("0/2", "SchedulingGated", "0"),
        id="gated",
    ),
]


@pytest.mark.parametrize(("pod", "cells"), ROWS)
def test_rows_tell_the_state(pod: Object, cells: tuple[str, ...]) -> None:
    assert tuple(pod_printer.row(pod, NOW)[1:4]) == cells


QOS = [
    pytest.param([{}], "BestEffort", id="nothing asked"),
    pytest.param([{"requests": {"cpu": "0"}}], "BestEffort", id="zero is nothing"),
    pytest.param([{"requests": {"cpu": "1"}}], "Burstable", id="requests alone"),
    pytest.param(
        [{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}],
        "Guaranteed",
        id="limits equal requests",
    ),
    pytest.param(
        [{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, {}],
        "Burstable",
        id="another container asks for nothing",
    ),
    pytest.param([{"limits": {"example.com/x": "1"}}], "BestEffort", id="extended resources do not count"),
]


@pytest.mark.parametrize(("resources", "wanted"), QOS)
def test_qos_class(resources: list[Object], wanted: str) -> None:
    assert pod_strategy.qos_class({"containers": [{"resources": entry} for entry in resources]}) == wanted


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        pytest.param("busybox", "latest", id="no tag"),
        pytest.param("busybox:1.36", "1.36", id="tag"),
        pytest.param("registry:5000/busybox", "latest", id="a port is no tag"),
        pytest.param("busybox@sha256:" + "0" * 64, "", id="digest"),
        pytest.param("busybox:latest@sha256:" + "0" * 64, "latest", id="tag and digest"),
    ],
)
def test_image_tag(image: str, tag: str) -> None:
    assert image_tag(image) == tag


@pytest.mark.parametrize(
    ("pod", "requested", "seconds"),
    [
        pytest.param({"spec": {"terminationGracePeriodSeconds": 30}}, None, 0, id="without a node it goes at once"),
        pytest.param({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}}, None, 30, id="the pod's own"),
        pytest.param({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}}, 5, 5, id="the request's"),
        pytest.param({"spec": {"nodeName": "n"}}, -1, 1, id="negative means one"),
        pytest.param({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}, 9, 0, id="an ended pod"),
    ],
)
def test_grace_period(pod: Object, requested: int | None, seconds: int) -> None:
    assert pod_strategy.grace_period(pod, requested) == seconds


def _stored(**spec: Any) -> Object:
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec},
    }
    KIND.default(pod)
    KIND.prepare_create(pod)
    return pod


def _change(pod: Object, **spec: Any) -> Object:
    changed = thaw(pod)
    changed["spec"].update(spec)
    return changed


TOLERATION: Object = {"key": "a", "operator": "Exists"}
UPDATES = [
    pytest.param({}, {"containers": "image"}, [], id="another image"),
    pytest.param({}, {"nodeName": "n"}, ["spec"], id="a node by update"),
    pytest.param({}, {"tolerations": [TOLERATION]}, [], id="one more toleration"),
    pytest.param({"tolerations": [TOLERATION]}, {"tolerations": []}, ["spec.tolerations"], id="a toleration less"),
    pytest.param({}, {"activeDeadlineSeconds": 5}, [], id="a deadline"),
    pytest.param(
        {"activeDeadlineSeconds": 5},
        {"activeDeadlineSeconds": 9},
        ["spec.activeDeadlineSeconds"],
        id="a later deadline",
    ),
    pytest.param({"schedulingGates": [{"name": "g"}]}, {"schedulingGates": []}, [], id="a gate less"),
    pytest.param({"schedulingGates": [{"name": "g"}]}, {"nodeSelector": {"a": "b"}}, [], id="a gated pod is narrowed"),
    pytest.param({}, {"nodeSelector": {"a": "b"}}, ["spec"], id="a pod without gates is not narrowed"),
]


@pytest.mark.parametrize(("spec", "change", "fields"), UPDATES)
def test_updates(spec: Object, change: Object, fields: list[str]) -> None:
    old = _stored(**spec)
    new = _change(old, **{key: value for key, value in change.items() if value != "image"})
    if change.get("containers") == "image":
        new["spec"]["containers"][0]["image"] = "i:2"
    assert [error.field for error in KIND.validate_update(new, old)] == fields


def test_match_label_keys_pin_a_constraint_to_the_pod() -> None:
    constraint = {
        "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}}, "matchLabelKeys": ["hash"],
    }  # fmt: skip
    pod: Object = {"metadata": {"name": "p", "labels": {"hash": "1"}},
                   "spec": {"containers": [], "topologySpreadConstraints": [constraint]}}  # fmt: skip
    pod_strategy.prepare_create(pod)
    selector = pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]
    assert selector["matchExpressions"] == [{"key": "hash", "operator": "In", "values": ["1"]}]


def test_resize_keeps_the_qos_class() -> None:
    old = _stored(containers=[{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}])
    bigger = thaw(old)
    bigger["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2"
    guaranteed = thaw(old)
    amounts = {"cpu": "1", "memory": "1Gi"}
    guaranteed["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    check = KIND.extra["validate_resize"]
    assert check(bigger, old) == []
    assert [error.field for error in check(guaranteed, old)] == ["spec"]


def test_a_status_keeps_the_generations_that_it_does_not_tell() -> None:
    seen = [{"type": "Ready", "observedGeneration": 3}, {"type": "Ready"}, {"type": "Initialized"}]
    told = [{"type": "Ready"}, {"type": "Ready"}, {"type": "Initialized", "observedGeneration": 4}, {"type": "New"}]
    old: Object = {"metadata": {"name": "p"}, "spec": {}, "status": {"observedGeneration": 5, "conditions": seen}}
    new: Object = {"metadata": {"name": "p"}, "spec": {}, "status": {"conditions": told}}
    pod_strategy.prepare_status(new, old)
    assert new["status"]["observedGeneration"] == 5
    assert [each.get("observedGeneration") for each in new["status"]["conditions"]] == [3, None, 4, None]
