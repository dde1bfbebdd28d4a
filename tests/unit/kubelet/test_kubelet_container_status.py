"""Statuses of containers that could not be started."""

from __future__ import annotations

import pytest
from kubelet_bench import make_pod

from minikube_py.components.kubelet.pods.container_status import Problem, container_statuses
from minikube_py.components.kubelet.pods.model import Role
from minikube_py.components.kubelet.pods.plan import NO_PROBES
from minikube_py.components.kubelet.pods.state import PodState
from minikube_py.components.kubelet.runtime.types import Container, ContainerState, ContainerStatus


@pytest.mark.parametrize(
    ("policy", "state", "last"),
    [
        pytest.param("Always", "waiting", ["terminated"], id="is tried again"),
        pytest.param("OnFailure", "waiting", ["terminated"], id="is tried again after a failure"),
        pytest.param("Never", "terminated", [], id="is over"),
    ],
)
def test_a_container_that_did_not_start(policy: str, state: str, last: list[str]) -> None:
    pod = make_pod(containers=[{"name": "main", "image": "m"}], restartPolicy=policy)
    made = Container("id", "sb", "main", 0, "", "", ContainerState.EXITED, 1, {}, {})
    (found,) = container_statuses(
        pod, Role.REGULAR, PodState("uid-web", (), (ContainerStatus(made, exit_code=128, reason="StartError"),)),
        previous={}, probes=NO_PROBES, problems={"main": Problem("RunContainerError", "no such file")}, messages={},
        ended=False,
    )  # fmt: skip
    assert (list(found["state"]), list(found["lastState"])) == ([state], last)
