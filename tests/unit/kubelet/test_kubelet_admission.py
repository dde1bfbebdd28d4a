"""The node's own check of a pod: ports of the node, kernel parameters."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.components.kubelet.pods.admission import check

ALLOCATABLE = {"cpu": "2", "memory": "4Gi", "pods": "110"}


def pod(*ports: dict[str, Any], sysctl: str = "", **spec: Any) -> dict[str, Any]:
    context = {"securityContext": {"sysctls": [{"name": sysctl, "value": "1"}]}} if sysctl else {}
    listed = [{"containerPort": 80, **port} for port in ports]
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "ports": listed}], **context, **spec}}


def reason(new: dict[str, Any], *others: dict[str, Any]) -> str:
    verdict = check(new, others, allocatable=ALLOCATABLE, node_labels={})
    return verdict.reason if verdict else ""


@pytest.mark.parametrize(
    ("port", "other", "wanted"),
    [
        pytest.param({"hostPort": 1}, {"hostPort": 1}, "NodePorts", id="the same port"),
        pytest.param({"hostPort": 1}, {"hostPort": 2}, "", id="another port"),
        pytest.param({"hostPort": 1}, {"hostPort": 1, "protocol": "UDP"}, "", id="another protocol"),
        pytest.param({"hostPort": 1, "hostIP": "127.0.0.1"}, {"hostPort": 1, "hostIP": "10.0.0.1"}, "", id="addresses"),
        pytest.param({"hostPort": 1, "hostIP": "10.0.0.1"}, {"hostPort": 1}, "NodePorts", id="one of every address"),
        pytest.param(
            {"hostPort": 1, "hostIP": "0.0.0.0"}, {"hostPort": 1, "hostIP": "10.0.0.1"}, "NodePorts", id="all zeros"
        ),
    ],
)
def test_ports_of_the_node_are_taken_once(port: dict[str, Any], other: dict[str, Any], wanted: str) -> None:
    assert reason(pod(port), pod(other)) == wanted
    assert reason(pod(other), pod(port)) == wanted


@pytest.mark.parametrize(
    ("name", "host", "wanted"),
    [
        pytest.param("net.ipv4.tcp_syncookies", {}, "", id="safe"),
        pytest.param("net/ipv4/tcp_syncookies", {}, "", id="safe, with slashes"),
        pytest.param("kernel.msgmax", {}, "SysctlForbidden", id="unsafe"),
        pytest.param("net/ipv4/conf/eth0.1/forwarding", {}, "SysctlForbidden", id="unsafe, with slashes"),
        pytest.param("net.ipv4.tcp_rmem", {"hostNetwork": True}, "SysctlForbidden", id="of the host's network"),
        pytest.param("kernel.shm_rmid_forced", {"hostIPC": True}, "SysctlForbidden", id="of the host's memory"),
        pytest.param("kernel.shm_rmid_forced", {"hostNetwork": True}, "", id="of another namespace"),
    ],
)
def test_only_safe_kernel_parameters_are_set(name: str, host: dict[str, Any], wanted: str) -> None:
    assert reason(pod(sysctl=name, **host)) == wanted


@pytest.mark.parametrize(
    ("allowed", "wanted"),
    [
        pytest.param((), "SysctlForbidden", id="none"),
        pytest.param(("kernel.msgmax",), "", id="by name"),
        pytest.param(("kernel/msg*",), "", id="by prefix"),
        pytest.param(("net.core.*",), "SysctlForbidden", id="others"),
    ],
)
def test_the_administrator_permits_unsafe_kernel_parameters(allowed: tuple[str, ...], wanted: str) -> None:
    new = pod(sysctl="kernel.msgmax")
    verdict = check(new, (), allocatable=ALLOCATABLE, node_labels={}, unsafe_sysctls=allowed)
    assert (verdict.reason if verdict else "") == wanted
