"""What admission counts: plugins and phases, webhooks, the verdicts of Pod Security."""

from __future__ import annotations

import pytest
from admission_cluster import Cluster

from minikube_py.components.apiserver.admission.webhooks.hooks import VALIDATING
from minikube_py.components.apiserver.metrics.admission import AdmissionMetrics
from minikube_py.components.apiserver.metrics.values import Distribution
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.resources import CONFIG_MAPS, NAMESPACES, PODS

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DURATION = "_admission_duration_seconds"


def metrics_of(cluster: Cluster) -> AdmissionMetrics:
    return cluster.api.metrics.admission


def counted(cluster: Cluster, name: str) -> dict[tuple[str, ...], float]:
    """The values of a family by label values; of a histogram the number of observations."""
    found: dict[tuple[str, ...], float] = {}
    for family in metrics_of(cluster).families():
        if family.definition.name == name:
            for labels, value in family.samples:
                found[labels] = value if isinstance(value, int | float) else sum(value.counts)
    return found


async def create(cluster: Cluster, name: str) -> None:
    await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": name}}, "ns")


async def test_plugins_and_phases(cluster: Cluster) -> None:
    before = counted(cluster, f"apiserver_admission_step{DURATION}")
    await create(cluster, "a")
    with pytest.raises(ApiError):
        await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "b"}}, "no-such-namespace")
    steps = counted(cluster, f"apiserver_admission_step{DURATION}")
    passed, refused = ("admit", "CREATE", "false"), ("admit", "CREATE", "true")
    assert steps[passed] - before[passed] == 1
    assert steps[refused] - before.get(refused, 0) == 1
    assert counted(cluster, f"apiserver_admission_step{DURATION}_summary") == steps
    controllers = counted(cluster, f"apiserver_admission_controller{DURATION}")
    assert controllers["NamespaceLifecycle", *refused] == 1
    assert controllers["NamespaceLifecycle", *passed] >= 1


async def test_webhooks(cluster: Cluster) -> None:
    cluster.always("/allow")
    cluster.always("/deny", allowed=False, status={"code": 418, "message": "no"})
    cluster.always("/broken", uid="wrong")
    await cluster.register(
        cluster.webhook("allow.example.com", "/allow"),
        cluster.webhook("open.example.com", "/broken", failurePolicy="Ignore"),
        name="pass",
    )
    await create(cluster, "a")
    await cluster.register(cluster.webhook("deny.example.com", "/deny"), name="deny")
    with pytest.raises(ApiError, match="denied the request"):
        await create(cluster, "b")
    await cluster.client.delete(VALIDATING, "deny")
    await cluster.register(
        cluster.webhook("closed.example.com", "/broken", failurePolicy="Fail"), mutating=True, name="closed"
    )
    with pytest.raises(ApiError, match="failed calling webhook"):
        await create(cluster, "c")
    calls = counted(cluster, "apiserver_admission_webhook_request_total")
    assert calls["allow.example.com", "validating", "CREATE", "200", "false"] == 2
    assert calls["open.example.com", "validating", "CREATE", "400", "false"] == 2
    assert calls["deny.example.com", "validating", "CREATE", "418", "true"] == 1
    assert calls["closed.example.com", "admit", "CREATE", "400", "true"] == 1
    durations = counted(cluster, f"apiserver_admission_webhook{DURATION}")
    assert durations["deny.example.com", "validating", "CREATE", "true"] == 1
    assert counted(cluster, "apiserver_admission_webhook_rejection_count") == {
        ("deny.example.com", "validating", "CREATE", "no_error", "418"): 1,
        ("closed.example.com", "admit", "CREATE", "calling_webhook_error", "400"): 1,
    }
    assert counted(cluster, "apiserver_admission_webhook_fail_open_count") == {("open.example.com", "validating"): 2}
    sent = {family.definition.name: dict(family.samples) for family in cluster.api.metrics.rest_clients.families()}
    assert sent["rest_client_requests_total"] == {("200", "POST", f"127.0.0.1:{cluster.port}"): 6}
    [sizes] = sent["rest_client_request_size_bytes"].values()
    assert isinstance(sizes, Distribution)
    assert sum(sizes.counts) == 6 and sizes.total > 6 * 100


async def test_pod_security(cluster: Cluster) -> None:
    enforced = {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/audit": "restricted"}
    await cluster.client.patch(NAMESPACES, "ns", {"metadata": {"labels": enforced}})
    await cluster.client.create(PODS, POD, "ns")
    privileged = [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]
    with pytest.raises(ApiError, match="violates PodSecurity"):
        await cluster.client.create(PODS, {"metadata": {"name": "q"}, "spec": {"containers": privileged}}, "ns")
    await cluster.client.create(PODS, POD, "other")
    found = counted(cluster, "pod_security_evaluations_total")
    assert {labels: count for labels, count in found.items() if count} == {
        ("allow", "baseline", "latest", "enforce", "create", "pod", "", ""): 1,
        ("deny", "baseline", "latest", "enforce", "create", "pod", "", ""): 1,
        ("deny", "restricted", "latest", "audit", "create", "pod", "", ""): 2,
        ("allow", "privileged", "latest", "enforce", "create", "pod", "", ""): 1,
    }
