"""The plan for a pod: tables of spec, state and probes against what must be done."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from kubelet_bench import make_pod

from minikube_py.components.kubelet.pods.model import (
    HASH_ANNOTATION,
    Role,
    container_hash,
    find_container,
    qos_class,
    requested,
    restarts_after_exit,
)
from minikube_py.components.kubelet.pods.plan import NO_PROBES, ProbeView, decide
from minikube_py.components.kubelet.pods.state import PodState
from minikube_py.components.kubelet.runtime.types import (
    Container,
    ContainerState,
    ContainerStatus,
    PodIdentity,
    Sandbox,
    SandboxStatus,
)
from minikube_py.machinery.objects import Object

RUNNING, EXITED = ContainerState.RUNNING, ContainerState.EXITED
INIT = {"name": "init", "image": "i"}
SIDECAR = {"name": "side", "image": "s", "restartPolicy": "Always"}
MAIN = {"name": "main", "image": "m"}


def sandbox(*, ready: bool = True, ips: tuple[str, ...] = ("10.0.0.2",), attempt: int = 0) -> SandboxStatus:
    return SandboxStatus(Sandbox("sb", PodIdentity("web", "default", "uid-web", attempt), ready, 1), ips)


_ticks = itertools.count(1)


def box(pod: Object, name: str, state: ContainerState, code: int = 0, *, hash: str = "") -> ContainerStatus:
    found = find_container(pod, name)
    assert found is not None
    notes = {HASH_ANNOTATION: hash or container_hash(found[1])}
    made = Container(f"id-{name}", "sb", name, 0, "", "", state, next(_ticks), {}, notes)
    return ContainerStatus(made, exit_code=code)


@dataclass
class Case:
    pod: Object
    states: list[tuple[str, ContainerState, int]] = field(default_factory=list)
    start: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    finished: bool = False
    probes: ProbeView = NO_PROBES


def spec(*inits: Object, policy: str = "Always", main: Object = MAIN) -> Object:
    return make_pod(restartPolicy=policy, initContainers=list(inits), containers=[main])


PROBED = {**MAIN, "livenessProbe": {"terminationGracePeriodSeconds": 5}}
SLOW_SIDECAR = {**SIDECAR, "startupProbe": {}}

CASES = [
    pytest.param(Case(spec(), start=("main",)), id="nothing made yet starts the container"),
    pytest.param(Case(spec(INIT), start=("init",)), id="init container goes first"),
    pytest.param(Case(spec(INIT), [("init", RUNNING, 0)]), id="running init container is waited for"),
    pytest.param(Case(spec(INIT), [("init", EXITED, 0)], ("main",)), id="finished init container lets main start"),
    pytest.param(Case(spec(INIT), [("init", EXITED, 1)], ("init",)), id="failed init container is run again"),
    pytest.param(
        Case(spec(INIT, policy="Never"), [("init", EXITED, 1)], finished=True), id="failed init ends a Never pod"
    ),
    pytest.param(Case(spec(SIDECAR), [("side", RUNNING, 0)], ("main",)), id="started sidecar lets main start"),
    pytest.param(Case(spec(SLOW_SIDECAR), [("side", RUNNING, 0)]), id="sidecar that has not started is waited for"),
    pytest.param(
        Case(spec(SLOW_SIDECAR), [("side", RUNNING, 0)], ("main",), probes=ProbeView(started={"id-side": True})),
        id="sidecar whose startup probe has passed lets main start",
    ),
    pytest.param(
        Case(spec(SIDECAR), [("side", EXITED, 0), ("main", RUNNING, 0)], ("side",)), id="dead sidecar is restarted"
    ),
    pytest.param(
        Case(spec(SIDECAR, policy="Never"), [("side", RUNNING, 0), ("main", EXITED, 0)], finished=True),
        id="sidecar does not keep a finished pod alive",
    ),
    pytest.param(Case(spec(), [("main", RUNNING, 0)]), id="running container is left alone"),
    pytest.param(Case(spec(), [("main", EXITED, 0)], ("main",)), id="Always restarts a success"),
    pytest.param(Case(spec(policy="OnFailure"), [("main", EXITED, 0)], finished=True), id="OnFailure ends on success"),
    pytest.param(Case(spec(policy="OnFailure"), [("main", EXITED, 1)], ("main",)), id="OnFailure restarts a failure"),
    pytest.param(Case(spec(policy="Never"), [("main", EXITED, 1)], finished=True), id="Never ends on failure"),
    pytest.param(
        Case(
            spec(main=PROBED), [("main", RUNNING, 0)], ("main",), ("main",), probes=ProbeView(live={"id-main": False})
        ),
        id="failed liveness probe replaces the container",
    ),
    pytest.param(
        Case(
            spec(main=PROBED, policy="Never"),
            [("main", RUNNING, 0)],
            (),
            ("main",),
            probes=ProbeView(live={"id-main": False}),
        ),
        id="failed liveness probe only ends a container that is never restarted",
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_decide(case: Case) -> None:
    boxes = [box(case.pod, *item) for item in case.states]
    plan = decide(case.pod, PodState("uid-web", (sandbox(),), tuple(reversed(boxes))), case.probes)
    assert tuple(item.name for item in plan.start) == case.start
    assert tuple(item.name for item in plan.kill) == case.kill
    assert plan.finished is case.finished


def test_first_sync_makes_a_sandbox() -> None:
    plan = decide(spec(INIT), PodState("uid-web"))
    assert plan.create_sandbox and plan.sandbox_attempt == 0 and not plan.kill_pod
    assert [item.name for item in plan.start] == ["init"]


def test_dead_sandbox_is_replaced_by_the_next_attempt() -> None:
    pod = spec()
    plan = decide(pod, PodState("uid-web", (sandbox(ready=False, attempt=3),), (box(pod, "main", EXITED, 137),)))
    assert plan.kill_pod and plan.create_sandbox and plan.sandbox_attempt == 4


def test_dead_sandbox_of_a_never_pod_ends_it() -> None:
    pod = spec(policy="Never")
    plan = decide(pod, PodState("uid-web", (sandbox(ready=False),), (box(pod, "main", EXITED, 137),)))
    assert plan.finished and not plan.create_sandbox


def test_changed_image_replaces_the_container() -> None:
    pod = spec()
    plan = decide(pod, PodState("uid-web", (sandbox(),), (box(pod, "main", RUNNING, hash="other"),)))
    assert plan.kill[0].message == "Container main definition changed, will be restarted"
    assert [item.name for item in plan.start] == ["main"]


def test_liveness_grace_is_the_probes_own() -> None:
    pod = spec(main=PROBED)
    state = PodState("uid-web", (sandbox(),), (box(pod, "main", RUNNING),))
    assert decide(pod, state, ProbeView(live={"id-main": False})).kill[0].grace_seconds == 5


RULES = {
    **MAIN,
    "restartPolicy": "Never",
    "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
}


@pytest.mark.parametrize(
    ("policy", "container", "code", "restarts"),
    [
        pytest.param("Always", MAIN, 0, True, id="Always after success"),
        pytest.param("Never", MAIN, 1, False, id="Never after failure"),
        pytest.param("Never", {**MAIN, "restartPolicy": "Always"}, 0, True, id="container's own policy wins"),
        pytest.param("Always", RULES, 42, True, id="a rule for the exit code wins"),
        pytest.param("Always", RULES, 1, False, id="another exit code follows the container's policy"),
    ],
)
def test_restart_rules(policy: str, container: Object, code: int, restarts: bool) -> None:
    pod = make_pod(restartPolicy=policy, containers=[container])
    assert restarts_after_exit(pod, Role.REGULAR, container, code) is restarts


def resources(requests: Object | None = None, limits: Object | None = None) -> Object:
    return {"name": "main", "image": "m", "resources": {"requests": requests or {}, "limits": limits or {}}}


@pytest.mark.parametrize(
    ("containers", "quality"),
    [
        pytest.param([MAIN], "BestEffort", id="nothing asked"),
        pytest.param([resources({"cpu": "1"})], "Burstable", id="a request only"),
        pytest.param(
            [resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"})], "Guaranteed", id="equal"
        ),
        pytest.param([resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"})], "Burstable", id="more"),
        pytest.param([resources(limits={"cpu": "1", "memory": "1Gi"}), MAIN], "Burstable", id="one without"),
    ],
)
def test_qos_class(containers: list[Object], quality: str) -> None:
    assert qos_class(make_pod(containers=containers)) == quality


def test_effective_request_is_the_larger_of_init_and_running() -> None:
    pod = make_pod(
        initContainers=[
            {**SIDECAR, "resources": {"requests": {"cpu": "100m"}}},
            {**INIT, "resources": {"requests": {"cpu": "2"}}},
        ],
        containers=[resources({"cpu": "500m"})],
    )
    assert requested(pod, "cpu") == 2100
