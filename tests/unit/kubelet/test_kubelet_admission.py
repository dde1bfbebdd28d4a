"""The node's own check of a pod: what it asks for, where it wants to be, what the node keeps away."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.components.kubelet.pods.admission import ThisNode, check, node_of

ALLOCATABLE = {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi", "pods": "3", "example.com/gpu": "1"}
NODE = ThisNode(name="n", allocatable=ALLOCATABLE, labels={"disk": "fast", "size": "7"})


def pod(*ports: dict[str, Any], sysctl: str = "", **spec: Any) -> dict[str, Any]:
    context = {"securityContext": {"sysctls": [{"name": sysctl, "value": "1"}]}} if sysctl else {}
    listed = [{"containerPort": 80, **port} for port in ports]
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "ports": listed}], **context, **spec}}


def reason(new: dict[str, Any], *others: dict[str, Any]) -> str:
    verdict = check(new, others, NODE)
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
    verdict = check(new, (), NODE, unsafe_sysctls=allowed)
    assert (verdict.reason if verdict else "") == wanted


def asking(**requests: str) -> dict[str, Any]:
    resources = {"requests": {name.replace("_", "-"): amount for name, amount in requests.items()}}
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}}


GPU = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]}}
OTHERS = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"example.com/licence": "9"}}}]}}
HUGE = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"hugepages-2Mi": "2Mi"}}}]}}


@pytest.mark.parametrize(
    ("new", "present", "wanted"),
    [
        pytest.param(asking(cpu="1"), (asking(cpu="1"),), "", id="exactly what is left"),
        pytest.param(asking(cpu="1"), (asking(cpu="1001m"),), "OutOfcpu", id="a millicore too much"),
        pytest.param(asking(memory="3Gi"), (asking(memory="2Gi"),), "OutOfmemory", id="memory"),
        pytest.param(asking(ephemeral_storage="11Gi"), (), "OutOfephemeral-storage", id="room on the disk"),
        pytest.param(pod(), (pod(), pod(), pod()), "OutOfpods", id="slots"),
        pytest.param(asking(cpu="9"), (pod(), pod(), pod()), "OutOfpods", id="slots come first"),
        pytest.param(GPU, (), "", id="an extended resource"),
        pytest.param(GPU, (GPU,), "OutOfexample.com/gpu", id="an extended resource that is taken"),
        pytest.param(OTHERS, (), "", id="an extended resource that no node has"),
        pytest.param(HUGE, (), "OutOfhugepages-2Mi", id="huge pages that the node has not"),
    ],
)
def test_requests_fit_into_what_is_left(new: dict[str, Any], present: tuple[Any, ...], wanted: str) -> None:
    assert reason(new, *present) == wanted


def affine(*terms: dict[str, Any], **spec: Any) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return pod(affinity={"nodeAffinity": required}, **spec)


def where(key: str, operator: str, *values: str, part: str = "matchExpressions") -> dict[str, Any]:
    return {part: [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        pytest.param(pod(nodeSelector={"disk": "fast"}), "", id="selected"),
        pytest.param(pod(nodeSelector={"disk": "slow"}), "NodeAffinity", id="selected elsewhere"),
        pytest.param(affine(where("disk", "In", "slow", "fast")), "", id="in"),
        pytest.param(affine(where("disk", "NotIn", "fast")), "NodeAffinity", id="not in"),
        pytest.param(affine(where("none", "DoesNotExist")), "", id="without a label"),
        pytest.param(affine(where("size", "Gt", "6")), "", id="greater"),
        pytest.param(affine(where("size", "Lt", "7")), "NodeAffinity", id="not less"),
        pytest.param(affine(where("size", "Gt", "1_0")), "NodeAffinity", id="no number"),
        pytest.param(affine(where("disk", "In", "slow"), where("size", "Exists")), "", id="one of two terms"),
        pytest.param(affine({}), "NodeAffinity", id="an empty term"),
        pytest.param(affine(where("metadata.name", "In", "n", part="matchFields")), "", id="by name"),
        pytest.param(affine(where("metadata.name", "In", "m", part="matchFields")), "NodeAffinity", id="by other name"),
        pytest.param(
            affine(where("disk", "Exists"), nodeSelector={"disk": "slow"}), "NodeAffinity", id="selector and affinity"
        ),
    ],
)
def test_required_node_affinity_counts(new: dict[str, Any], wanted: str) -> None:
    assert reason(new) == wanted


@pytest.mark.parametrize(
    ("effect", "tolerations", "wanted"),
    [
        pytest.param("NoExecute", [], "TaintToleration", id="drives away"),
        pytest.param("NoSchedule", [], "", id="only the scheduler's business"),
        pytest.param("NoExecute", [{"key": "k", "operator": "Exists"}], "", id="tolerated"),
        pytest.param("NoExecute", [{"operator": "Exists"}], "", id="everything tolerated"),
        pytest.param("NoExecute", [{"key": "k", "value": "w"}], "TaintToleration", id="another value tolerated"),
        pytest.param(
            "NoExecute", [{"key": "k", "value": "v", "effect": "NoSchedule"}], "TaintToleration", id="another effect"
        ),
        pytest.param(
            "NoExecute", [{"key": "k", "value": "v", "tolerationSeconds": 5}], "", id="tolerated for some time"
        ),
    ],
)
def test_taints_that_drive_pods_away_count(effect: str, tolerations: list[Any], wanted: str) -> None:
    seen = {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "value": "v", "effect": effect}]}}
    verdict = check(pod(tolerations=tolerations), (), node_of(seen, ALLOCATABLE))
    assert (verdict.reason if verdict else "") == wanted
    if verdict:
        text = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
        assert verdict.message == f"Pod was rejected: {text}"


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        pytest.param(pod(os={"name": "windows"}), "PodOSNotSupported", id="another system"),
        pytest.param(pod(os={"name": "linux"}), "", id="this system"),
        pytest.param(
            {"metadata": {"labels": {"kubernetes.io/os": "windows"}}, "spec": {"containers": []}},
            "PodOSSelectorNodeLabelDoesNotMatch",
            id="a label of another system",
        ),
        pytest.param(
            pod(securityContext={"supplementalGroupsPolicy": "Strict"}),
            "SupplementalGroupsPolicyNotSupported",
            id="groups that the runtime cannot keep out",
        ),
        pytest.param(pod(securityContext={"supplementalGroupsPolicy": "Merge"}), "", id="groups as ever"),
    ],
)
def test_what_this_system_cannot_do_is_refused(new: dict[str, Any], wanted: str) -> None:
    assert reason(new) == wanted


def test_what_the_node_object_says_counts() -> None:
    status = {"allocatable": {"cpu": "64", "example.com/gpu": "1"}, "features": {"supplementalGroupsPolicy": True}}
    seen = node_of({"metadata": {"name": "n", "labels": {"a": "b"}}, "status": status}, {"cpu": "2"})
    assert seen.allocatable == {"cpu": "2", "example.com/gpu": "1"}, "this process knows its own amounts better"
    assert (seen.labels, seen.strict_groups) == ({"a": "b"}, True)
