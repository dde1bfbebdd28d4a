"""sig-node conformance: how pods live: init containers, hooks, probes, messages of the ended, restarts, deadlines."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
from cluster import wait_until
from conformance_api import MERGE, STRATEGIC, Api
from conformance_pods import (
    START_SECONDS,
    container,
    container_status,
    create,
    ended,
    execute,
    is_ready,
    log,
    pod,
    python_container,
    python_volumes,
    ready,
    status,
)
from conformance_server import server_pod

ENDS_AT_ONCE = "trap exit TERM; sleep 3600 & wait"
WEB = "mkdir -p /tmp/w && echo ok > /tmp/w/healthz && cd /tmp/w && exec httpd -f -v -p 8080 2>&1"
GRPC_HEALTH = """
import concurrent.futures, os, signal, sys, threading, grpc
ill_after = int(sys.argv[1])
asked = []
def check(request, context):
    asked.append(1)
    return b"\\x08\\x02" if ill_after and len(asked) > ill_after else b"\\x08\\x01"
method = grpc.unary_unary_rpc_method_handler(check)
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})])
server.add_insecure_port("0.0.0.0:5000")
server.start()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
threading.Event().wait()
"""
"""Speaks the gRPC health protocol; it is ill after so many questions (0: never)."""


def probe(**more: Any) -> dict[str, Any]:
    return {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10, **more}


def probed(name: str, script: str, **probe_fields: Any) -> dict[str, Any]:
    found = container(script, livenessProbe=probe(**probe_fields))
    return pod(name, found, restartPolicy="Always")


def grpc_pod(name: str, ill_after: int, failures: int) -> dict[str, Any]:
    found = python_container(GRPC_HEALTH, str(ill_after))
    found["livenessProbe"] = probe(grpc={"port": 5000}, initialDelaySeconds=5, failureThreshold=failures)
    return pod(name, found, restartPolicy="Always", volumes=python_volumes())


HEALTHZ = {"httpGet": {"path": "/healthz", "port": 8080}}
PATIENT = {"initialDelaySeconds": 3, "failureThreshold": 20}
"""A slow machine is no illness."""
HEALTHY = {
    "live-exec": ("touch /tmp/health; sleep 3600", {"exec": {"command": ["cat", "/tmp/health"]}, **PATIENT}),
    "live-http": (WEB, {**HEALTHZ, **PATIENT}),
    "live-tcp": (WEB, {"tcpSocket": {"port": 8080}, **PATIENT}),
}
ILL = {
    "ill-exec": (
        "touch /tmp/health; sleep 3; rm /tmp/health; sleep 3600", {"exec": {"command": ["cat", "/tmp/health"]}}
    ),
    "ill-http": ("(sleep 3; rm /tmp/w/healthz) & " + WEB, {**HEALTHZ, "failureThreshold": 3}),
}  # fmt: skip


def init_pod(name: str, policy: str, first: str, app: str) -> dict[str, Any]:
    inits = [container(first, name="init1"), container("true", name="init2")]
    return pod(name, container(app), initContainers=inits, restartPolicy=policy)


def message_pod(name: str, script: str, **more: Any) -> dict[str, Any]:
    return pod(name, container(script, **more))


def hook_pods() -> list[dict[str, Any]]:
    """A server that writes down who asked it, and pods whose hooks ask it or leave a file on the host network."""
    started = {"postStart": {"exec": {"command": ["sh", "-c", "echo exec > /tmp/started"]}}}
    return [
        server_pod("handler"),
        pod("post-exec", container("sleep 3600", lifecycle=started)),
    ]


MESSAGES = {
    "message-file": (
        "printf DONE > /dev/termination-custom-log",
        {
            "terminationMessagePath": "/dev/termination-custom-log",
            "securityContext": {"runAsUser": 1000},
        },
        "DONE",
    ),
    "message-log": ("printf DONE; exit 1", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "DONE"),
    "message-none": ("printf DONE", {"terminationMessagePolicy": "FallbackToLogsOnError"}, ""),
    "message-file-first": (
        "printf OK > /dev/termination-log; printf DONE", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "OK"
    ),
}  # fmt: skip
EXITS = {
    "exit-always": ("Always", "Running"), "exit-on-failure": ("OnFailure", "Succeeded"),
    "exit-never": ("Never", "Failed"),
}  # fmt: skip


def exit_pod(name: str) -> dict[str, Any]:
    """Ends with 1, then, if it is started again, with 0 (OnFailure) or runs on (Always)."""
    again = {"exit-always": "sleep 3600", "exit-on-failure": "exit 0", "exit-never": "exit 0"}[name]
    script = f"if [ -e /count/once ]; then {again}; fi; touch /count/once; exit 1"
    mounts = [{"name": "count", "mountPath": "/count"}]
    return pod(
        name, container(script, volumeMounts=mounts), restartPolicy=EXITS[name][0],
        volumes=[{"name": "count", "emptyDir": {}}],
    )  # fmt: skip


@pytest.fixture(scope="module")
def pods(api: Api, ground: str) -> str:
    for name, (script, fields) in (HEALTHY | ILL).items():
        create(api, ground, [probed(name, script, **fields)])
    create(api, ground, [grpc_pod("live-grpc", 0, 60), grpc_pod("ill-grpc", 3, 3)])
    delay = container(WEB, readinessProbe=probe(**HEALTHZ, initialDelaySeconds=10, failureThreshold=3))
    never = container(WEB, readinessProbe=probe(exec={"command": ["false"]}))
    create(api, ground, [pod("delayed", delay), pod("never-ready", never)])
    create(api, ground, [
        init_pod("init-never", "Never", "true", "true"), init_pod("init-always", "Always", "true", "sleep 3600"),
        init_pod("init-fails", "Never", "false", "true"), init_pod("init-fails-always", "Always", "false", "true"),
    ])  # fmt: skip
    create(api, ground, [message_pod(name, script, **more) for name, (script, more, _) in MESSAGES.items()])
    create(api, ground, [exit_pod(name) for name in EXITS])
    create(api, ground, [*hook_pods(), pod("deadline", container("sleep 3600"))])
    return ground


def test_init_containers_that_end_well(api: Api, pods: str) -> None:
    found = ended(api, pods, "init-never")
    ready(api, pods, "init-always")
    for one in (found, status(api, pods, "init-always")):
        assert [item["state"]["terminated"]["exitCode"] for item in one["initContainerStatuses"]] == [0, 0]
        assert all(item["ready"] for item in one["initContainerStatuses"])
        initialized = next(item for item in one["conditions"] if item["type"] == "Initialized")
        assert initialized["status"] == "True"


def test_init_containers_that_fail(api: Api, pods: str) -> None:
    found = ended(api, pods, "init-fails")
    assert found["phase"] == "Failed"
    assert "waiting" in found["containerStatuses"][0]["state"]
    assert "terminated" not in found["initContainerStatuses"][1]["state"]


@pytest.mark.parametrize("name", MESSAGES)
def test_termination_messages(api: Api, pods: str, name: str) -> None:
    terminated = ended(api, pods, name)["containerStatuses"][0]["state"]["terminated"]
    assert terminated.get("message", "") == MESSAGES[name][2]


@pytest.mark.parametrize("name", EXITS)
def test_restart_policies(api: Api, pods: str, name: str) -> None:
    policy, phase = EXITS[name]
    wanted = 0 if policy == "Never" else 1

    def as_expected() -> bool:
        found = status(api, pods, name)
        return found["phase"] == phase and container_status(api, pods, name).get("restartCount") == wanted

    wait_until(f"{name}: {phase}, {wanted} restarts", as_expected, seconds=START_SECONDS)
    state = container_status(api, pods, name)["state"]
    assert ("running" in state) == (policy == "Always")


def test_a_hook_after_the_start(api: Api, pods: str) -> None:
    ready(api, pods, "post-exec", "handler")
    assert execute(api, pods, "post-exec", "cat /tmp/started") == "exec\n"


@pytest.mark.parametrize("kind", ["exec", "http"])
def test_hooks_reach_others_before_the_end_and_after_the_start(api: Api, pods: str, kind: str) -> None:
    """The handler's log says who asked: after the start (HTTP) and before the end (both)."""
    ready(api, pods, "handler")
    address = status(api, pods, "handler")["podIP"]
    hooks: dict[str, Any] = {
        "exec": {"preStop": {"exec": {"command": ["wget", "-qO-", f"http://{address}:8080/stop-exec"]}}},
        "http": {
            "postStart": {"httpGet": {"host": address, "port": 8080, "path": "/start-http"}},
            "preStop": {"httpGet": {"host": address, "port": 8080, "path": "/stop-http"}},
        },
    }
    name = f"hook-{kind}"
    create(api, pods, [pod(name, container(ENDS_AT_ONCE, lifecycle=hooks[kind]), terminationGracePeriodSeconds=15)])
    ready(api, pods, name)
    if kind == "http":
        wait_until("the hook is heard", lambda: "start-http" in log(api, pods, "handler"))
    api("DELETE", f"{pods}/pods/{name}?gracePeriodSeconds=10")
    wait_until(f"{name} asks", lambda: f"stop-{kind}" in log(api, pods, "handler"), seconds=START_SECONDS)
    wait_until(f"{name} goes", lambda: api.gone(f"{pods}/pods/{name}"), seconds=START_SECONDS)


@pytest.mark.parametrize("name", [*ILL, "ill-grpc"])
def test_liveness_probes_restart_the_ill(api: Api, pods: str, name: str) -> None:
    wait_until(
        f"{name} restarts", lambda: container_status(api, pods, name).get("restartCount"), seconds=180, every=0.3
    )


@pytest.mark.parametrize("name", [*HEALTHY, "live-grpc"])
def test_liveness_probes_leave_the_healthy(api: Api, pods: str, name: str) -> None:
    ready(api, pods, name)
    assert container_status(api, pods, name)["restartCount"] == 0


def test_readiness_waits_for_its_probe(api: Api, pods: str) -> None:
    wait_until("running", lambda: status(api, pods, "never-ready")["phase"] == "Running", seconds=START_SECONDS)
    ready(api, pods, "delayed")
    found = status(api, pods, "delayed")
    since = next(item["lastTransitionTime"] for item in found["conditions"] if item["type"] == "Ready")
    assert since > found["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert found["containerStatuses"][0]["restartCount"] == 0
    assert not is_ready(api, pods, "never-ready")
    assert container_status(api, pods, "never-ready")["restartCount"] == 0


def test_a_deadline_may_be_set_later(api: Api, pods: str) -> None:
    ready(api, pods, "deadline")
    api("PATCH", f"{pods}/pods/deadline", {"spec": {"activeDeadlineSeconds": 2}}, media_type=MERGE)
    assert ended(api, pods, "deadline")["reason"] == "DeadlineExceeded"


def test_ephemeral_containers_join_a_running_pod(api: Api, core: str) -> None:
    create(api, core, [pod("joined", container("sleep 3600"))])
    ready(api, core, "joined")

    def says(name: str, text: str) -> bool:
        return log(api, core, "joined", name) == text

    for number in (1, 2):
        added = container(f"echo {number} joined; sleep 3600", name=f"debug-{number}")
        found = api(
            "PATCH", f"{core}/pods/joined/ephemeralcontainers", {"spec": {"ephemeralContainers": [added]}},
            media_type=STRATEGIC,
        )  # fmt: skip
        assert len(found["spec"]["ephemeralContainers"]) == number

        def runs(number: int = number) -> bool:
            listed = status(api, core, "joined").get("ephemeralContainerStatuses") or []
            return len(listed) == number and all("running" in item["state"] for item in listed)

        wait_until("the ephemeral container runs", runs, seconds=START_SECONDS)
        wait_until("its log", partial(says, f"debug-{number}", f"{number} joined\n"), seconds=START_SECONDS)
        assert execute(api, core, "joined", "echo in", f"debug-{number}") == "in\n"


def test_restarts_go_on_and_their_count_only_grows(api: Api, pods: str) -> None:
    """An init container that fails and a container that its probe finds ill, over three restarts."""

    def counts() -> tuple[int, int]:
        found = status(api, pods, "init-fails-always").get("initContainerStatuses") or [{}]
        return found[0].get("restartCount", 0), container_status(api, pods, "ill-exec").get("restartCount", 0)

    seen = [counts()]

    def three() -> bool:
        seen.append(counts())
        return min(seen[-1]) >= 3

    wait_until("three restarts", three, seconds=240, every=0.5)
    assert all(before[0] <= after[0] and before[1] <= after[1] for before, after in itertools.pairwise(seen))
    found = status(api, pods, "init-fails-always")
    assert found["phase"] == "Pending" and "waiting" in found["containerStatuses"][0]["state"]
    initialized = next(item for item in found["conditions"] if item["type"] == "Initialized")
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
