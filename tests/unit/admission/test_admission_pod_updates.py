"""What a pod's node must be able to do for a change of the pod: room for a resize, and declared features."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.admission.pod_updates import NodeDeclaredFeatureValidator, PodResizeValidator
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import NODES, PODS

MIB = 1024 * 1024
LINUX, WINDOWS = {"kubernetes.io/os": "linux"}, {"kubernetes.io/os": "windows"}
CHANGED, SAME = 2, 1
POD_RESIZE, INIT_RESIZE = "InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"


def node(labels: dict[str, str] | None = None, *features: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "n1", "labels": labels or {}},
        "status": {"allocatable": {"cpu": "2", "memory": "100Mi"}, "declaredFeatures": list(features)},
    }


def pod(requests: dict[str, str], generation: int = CHANGED, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": requests}}
    return {
        "metadata": {"name": "p", "namespace": "ns", "generation": generation},
        "spec": {"nodeName": "n1", "containers": [container], **spec},
    }


OLD = pod({"cpu": "1"}, SAME)


async def ask(
    plugin: type[PodResizeValidator | NodeDeclaredFeatureValidator],
    new: dict[str, Any],
    there: dict[str, Any] | None,
    old: dict[str, Any],
    subresource: str = "resize",
) -> tuple[str, Any]:
    """What is said against a change, and its causes."""
    client = FakeClient(FakeClock())
    if there is not None:
        client.seed(NODES, there)
    kind = Kind(PODS, "x", "x")
    request = AdmissionRequest(Operation.UPDATE, kind, subresource, "ns", "p", UserInfo("joe"), new, old, {})
    made = plugin(Lookup(client, NODES))
    assert made.handles(request)
    try:
        await made.validate(request)
    except ApiError as error:
        assert (error.code, error.reason) == (403, "Forbidden")
        return error.message.removeprefix('pods "p" is forbidden: '), (error.details or {}).get("causes")
    return "", None


ROOM = "node didn't have enough allocatable resources: "
RESIZES = [
    (pod({"cpu": "2", "memory": "100Mi"}), node(LINUX), "", None),
    (pod({"cpu": "1", "memory": "1Mi"}), node(), "", None),
    (pod({"cpu": "2001m"}), node(LINUX), f"{ROOM}cpu, requested: 2001, allocatable: 2000", "NodeCapacity"),
    (
        pod({"cpu": "3", "memory": "101Mi"}),
        node(LINUX),
        f"{ROOM}cpu, requested: 3000, allocatable: 2000; memory, requested: {101 * MIB}, allocatable: {100 * MIB}",
        "NodeCapacity",
    ),
    (
        pod({"cpu": "1500m"}, overhead={"cpu": "1"}),
        node(LINUX),
        f"{ROOM}cpu, requested: 2500, allocatable: 2000",
        "NodeCapacity",
    ),
    (
        pod({"cpu": "9"}),
        node(WINDOWS),
        'pod resize is only supported on linux nodes, node "n1" is "windows"',
        "UnsupportedPlatform",
    ),
    (pod({"cpu": "9"}), None, 'node "n1" not found', None),
    (pod({"cpu": "9"}, SAME), None, "", None),
    (pod({"cpu": "9"}, nodeName=""), None, "", None),
]


@pytest.mark.parametrize(("new", "there", "text", "reason"), RESIZES)
async def test_a_resize_has_room_on_its_node(new: Any, there: Any, text: str, reason: str | None) -> None:
    causes = None if reason is None else [{"reason": reason}]
    assert await ask(PodResizeValidator, new, there, OLD) == (text, causes)


def whole(cpu: str | None, generation: int = CHANGED) -> dict[str, Any]:
    return pod({}, generation, **({} if cpu is None else {"resources": {"limits": {"cpu": cpu}}}))


def first(cpu: str, generation: int = CHANGED, **more: str) -> dict[str, Any]:
    return pod({}, generation, initContainers=[{"name": "i", "resources": {"requests": {"cpu": cpu}}, **more}])


def missing(*features: str) -> str:
    return f'pod update requires features {", ".join(features)} which are not available on node "n1"'


ALWAYS = {"restartPolicy": "Always"}
DECLARED = [
    (whole("2"), whole("1", SAME), node(), missing(POD_RESIZE)),
    (whole("2"), whole("1", SAME), node(None, POD_RESIZE), ""),
    (whole("1000m"), whole("1", SAME), node(), ""),
    (whole("2"), whole(None, SAME), node(), missing(POD_RESIZE)),
    (first("2"), first("1", SAME), node(), missing(INIT_RESIZE)),
    (first("1000m"), first("1", SAME), node(None, POD_RESIZE), missing(INIT_RESIZE)),
    (first("2", **ALWAYS), first("1", SAME, **ALWAYS), node(), ""),
    (
        first("2") | {"spec": {**first("2")["spec"], "resources": {"limits": {"cpu": "1"}}}},
        first("1", SAME),
        node(),
        missing(POD_RESIZE, INIT_RESIZE),
    ),
    (whole("2"), whole("1", SAME), None, 'node "n1" not found'),
    (whole("2", SAME), whole("1", SAME), None, ""),
    (pod({"cpu": "9"}), OLD, None, ""),
]


@pytest.mark.parametrize(("new", "old", "there", "text"), DECLARED)
@pytest.mark.parametrize("subresource", ["", "resize"])
async def test_a_node_declares_what_a_change_asks_for(
    new: Any, old: Any, there: Any, text: str, subresource: str
) -> None:
    assert await ask(NodeDeclaredFeatureValidator, new, there, old, subresource) == (text, None)
