"""What fits where: the filters and scores of the default plugins, through ``cycle.decide``."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import pytest
from scheduler_objects import info, node, node_info, pod

from minikube_py.client.testing import FakeClient, FakeClock
from minikube_py.client.types import EventType
from minikube_py.components.scheduler import cycle, preemption
from minikube_py.components.scheduler.cache import Cache
from minikube_py.components.scheduler.framework import ClusterEvent, summary
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.nominations import Nominations
from minikube_py.components.scheduler.pod_info import pod_requests
from minikube_py.components.scheduler.profile import Profile, default_profile
from minikube_py.components.scheduler.queue import SchedulingQueue
from minikube_py.components.scheduler.watching import Watching
from minikube_py.machinery import resources


def profile(*claims: Any, volumes: Sequence[Any] = (), classes: Sequence[Any] = ()) -> Profile:
    client = FakeClient(FakeClock())
    client.seed(resources.PERSISTENT_VOLUME_CLAIMS, *claims)
    client.seed(resources.PERSISTENT_VOLUMES, *volumes)
    client.seed(resources.STORAGE_CLASSES, *classes)
    return default_profile(client, lambda name: {"kubernetes.io/metadata.name": name})


def decide(pod_: Any, *nodes: NodeInfo, using: Profile | None = None) -> cycle.Decision:
    return cycle.decide(using or profile(), info(pod_), nodes, start=0, choose=random.Random(1))


def taint(key: str, effect: str, value: str = "") -> dict[str, Any]:
    return {"spec": {"taints": [{"key": key, "value": value, "effect": effect}]}}


def required(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def near(labels: dict[str, str], *, away: bool = False, key: str = "kubernetes.io/hostname") -> dict[str, Any]:
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": key}
    kind = "podAntiAffinity" if away else "podAffinity"
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def spread(skew: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [{"maxSkew": skew, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
             "labelSelector": {"matchLabels": {"app": "x"}}, **more}]  # fmt: skip


TOLERATES_ALL = [{"operator": "Exists"}]
X = {"app": "x"}

FITS = [
    pytest.param(pod("p"), node_info(node("n")), None, id="empty pod on an empty node"),
    pytest.param(pod("p", cpu="5"), node_info(node("n")), "Insufficient cpu", id="too much cpu"),
    pytest.param(
        pod("p", cpu="2"), node_info(node("n"), pod("a", cpu="2500m")), "Insufficient cpu", id="cpu in use"
    ),
    pytest.param(pod("p", cpu="1500m"), node_info(node("n"), pod("a", cpu="2500m")), None, id="cpu just enough"),
    pytest.param(pod("p"), node_info(node("n", pods=1), pod("a")), "Too many pods", id="pod count"),
    pytest.param(
        pod("p", container={"resources": {"requests": {"example.com/gpu": "1"}}}), node_info(node("n")),
        "Insufficient example.com/gpu", id="extended resource",
    ),
    pytest.param(
        pod("p", nodeSelector={"disk": "ssd"}), node_info(node("n")),
        "node(s) didn't match Pod's node affinity/selector", id="node selector",
    ),
    pytest.param(pod("p", nodeSelector={"disk": "ssd"}), node_info(node("n", labels={"disk": "ssd"})), None,
                 id="node selector matches"),
    pytest.param(
        pod("p", affinity=required({"key": "rank", "operator": "Gt", "values": ["3"]})),
        node_info(node("n", labels={"rank": "5"})), None, id="affinity Gt",
    ),
    pytest.param(
        pod("p", affinity=required({"key": "rank", "operator": "NotIn", "values": ["5"]})),
        node_info(node("n", labels={"rank": "5"})), "node(s) didn't match Pod's node affinity/selector",
        id="affinity NotIn",
    ),
    pytest.param(
        pod("p"), node_info(node("n", **taint("k", "NoSchedule", "v"))), "node(s) had untolerated taint {k: v}",
        id="taint",
    ),
    pytest.param(pod("p", tolerations=TOLERATES_ALL), node_info(node("n", **taint("k", "NoExecute"))), None,
                 id="taint tolerated by everything"),
    pytest.param(
        pod("p", tolerations=[{"key": "k", "value": "other", "effect": "NoSchedule"}]),
        node_info(node("n", **taint("k", "NoSchedule", "v"))), "node(s) had untolerated taint {k: v}",
        id="toleration of another value",
    ),
    pytest.param(pod("p"), node_info(node("n", **taint("k", "PreferNoSchedule"))), None, id="soft taint"),
    pytest.param(pod("p"), node_info(node("n", spec={"unschedulable": True})), "node(s) were unschedulable",
                 id="cordoned"),
    pytest.param(
        pod("p", container={"ports": [{"hostPort": 80, "containerPort": 80}]}),
        node_info(node("n"), pod("a", container={"ports": [{"hostPort": 80, "hostIP": "10.0.0.1"}]})),
        "node(s) didn't have free ports for the requested pod ports", id="host port of any address collides",
    ),
    pytest.param(
        pod("p", container={"ports": [{"hostPort": 80, "protocol": "UDP"}]}),
        node_info(node("n"), pod("a", container={"ports": [{"hostPort": 80}]})), None, id="another protocol",
    ),
    pytest.param(
        pod("p", affinity=near(X)), node_info(node("n")), "node(s) didn't match pod affinity rules",
        id="affinity to nobody",
    ),
    pytest.param(pod("p", affinity=near(X)), node_info(node("n"), pod("a", labels=X)), None, id="affinity met"),
    pytest.param(pod("p", labels=X, affinity=near(X)), node_info(node("n")), None, id="first of its own group"),
    pytest.param(
        pod("p", affinity=near(X, away=True)), node_info(node("n"), pod("a", labels=X)),
        "node(s) didn't match pod anti-affinity rules", id="anti-affinity",
    ),
    pytest.param(
        pod("p", labels=X), node_info(node("n"), pod("a", affinity=near(X, away=True))),
        "node(s) didn't satisfy existing pods anti-affinity rules", id="anti-affinity of an existing pod",
    ),
    pytest.param(
        pod("p", affinity=near(X, away=True)), node_info(node("n"), pod("a", labels=X, namespace="other")), None,
        id="anti-affinity stays in its namespace",
    ),
    pytest.param(
        pod("p", labels=X, topologySpreadConstraints=spread()), node_info(node("n")),
        "node(s) didn't match pod topology spread constraints (missing required label)", id="spread without label",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pod_", "candidate", "reason"), FITS)
def test_fits(pod_: Any, candidate: NodeInfo, reason: str | None) -> None:
    decision = decide(pod_, candidate)
    found = None if decision.node else decision.rejections["n"].reasons[0]
    assert found == reason


def test_spread_balances_zones() -> None:
    full = node_info(node("a", labels={"zone": "1"}), pod("x1", labels=X))
    empty = node_info(node("b", labels={"zone": "2"}))
    for _ in range(5):
        decision = decide(pod("p", labels=X, topologySpreadConstraints=spread()), full, empty)
        assert decision.node is empty


def test_spread_with_too_few_domains_counts_zero() -> None:
    only = node_info(node("a", labels={"zone": "1"}), pod("x1", labels=X))
    decision = decide(pod("p", labels=X, topologySpreadConstraints=spread(minDomains=2)), only)
    assert decision.node is None


@pytest.mark.parametrize(
    ("better", "worse", "spec"),
    [
        pytest.param(node_info(node("b")), node_info(node("w"), pod("a", cpu="3")), {}, id="the emptier node"),
        pytest.param(
            node_info(node("b")), node_info(node("w", **taint("k", "PreferNoSchedule"))), {}, id="the untainted node"
        ),
        pytest.param(
            node_info(node("b", labels={"disk": "ssd"})), node_info(node("w")),
            {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 5, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}]}}},
            id="the preferred node",
        ),
        pytest.param(
            node_info(node("b", images=[{"names": ["i:latest"], "sizeBytes": 900 << 20}])), node_info(node("w")), {},
            id="the node with the image",
        ),
        pytest.param(
            node_info(node("b"), pod("a", labels=X)), node_info(node("w"), pod("c")),
            {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 5, "podAffinityTerm": {"labelSelector": {"matchLabels": X},
                                                  "topologyKey": "kubernetes.io/hostname"}}]}}},
            id="the friends' node",
        ),
    ],
)  # fmt: skip
def test_prefers(better: NodeInfo, worse: NodeInfo, spec: dict[str, Any]) -> None:
    assert decide(pod("p", **spec), worse, better).node is better


def test_message_sums_up_the_reasons() -> None:
    decision = decide(pod("p", cpu="3"), node_info(node("a", cpu="1")), node_info(node("b", cpu="2")),
                      node_info(node("c", **taint("k", "NoSchedule"))))  # fmt: skip
    assert summary(3, decision.rejections) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {k: }, 2 Insufficient cpu."
    )
    assert decision.rejected_by == {"NodeResourcesFit", "TaintToleration"}


def test_claims_decide() -> None:
    meta = {"name": "data", "namespace": "default"}
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    wants = pod("p", volumes=volumes)
    completed = {**meta, "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
    bound = {"metadata": completed, "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}
    here = {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]}]}  # fmt: skip
    volume = {"metadata": {"name": "pv"}, "spec": {"nodeAffinity": {"required": here}}}
    late = {"metadata": meta, "spec": {"storageClassName": "late"}, "status": {"phase": "Pending"}}
    late_class = {
        "metadata": {"name": "late"}, "provisioner": "example.com/disk", "volumeBindingMode": "WaitForFirstConsumer"
    }  # fmt: skip
    nodes = node_info(node("a")), node_info(node("b"))
    reasons = {
        "missing": (profile(), 'persistentvolumeclaim "data" not found'),
        "unbound": (profile({"metadata": meta, "spec": {}}), "pod has unbound immediate PersistentVolumeClaims"),
    }
    for using, reason in reasons.values():
        assert decide(wants, *nodes, using=using).rejections["a"].reasons == (reason,)
    for _ in range(4):
        chosen = decide(wants, *nodes, using=profile(bound, volumes=[volume])).node
        assert chosen is not None and chosen.name == "a"
    assert decide(wants, *nodes, using=profile(late, classes=[late_class])).node is not None


def test_pod_requests_follow_init_containers_sidecars_and_overhead() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [container("1"), container("500m")],
        "initContainers": [container("200m", restartPolicy="Always"), container("3")],
        "overhead": {"cpu": "100m"},
    }
    assert pod_requests(spec)["cpu"] == 3200 + 100
    assert pod_requests({"containers": [container("1")], "resources": {"requests": {"cpu": "2"}}})["cpu"] == 2000


def test_preemption_takes_the_least_important_pods() -> None:
    small = pod("small", cpu="1", priority=1)
    big = pod("big", cpu="2", priority=5)
    top = pod("top", cpu="1", priority=50)
    crowded = node_info(node("n"), small, big, top)
    wants = pod("p", cpu="1", priority=10)
    using = profile()
    decision = decide(wants, crowded, using=using)
    victims = preemption.find_victims(using, info(wants), [crowded], decision.rejections, [])
    assert victims is not None
    assert [item.uid for item in victims.pods] == ["uid-small"]
    assert preemption.find_victims(using, info(pod("q", cpu="9", priority=10)), [crowded],
                                   decide(pod("q", cpu="9"), crowded, using=using).rejections, []) is None  # fmt: skip


def test_who_may_preempt() -> None:
    """Not who says so, and not who has victims that are still leaving."""
    pod_ = info(pod("p", priority=10))
    leaving, meaner = pod("leaving", priority=1), pod("meaner", priority=20)
    for each in (leaving, meaner):
        each["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    never = info(pod("p", priority=10, preemptionPolicy="Never"))
    assert preemption.ineligible(never, None) == "not eligible due to preemptionPolicy=Never."
    waiting = preemption.ineligible(pod_, node_info(node("n"), leaving))
    assert waiting == "not eligible due to a terminating pod on the nominated node."
    assert preemption.ineligible(pod_, node_info(node("n"), meaner, pod("other", priority=1))) == ""
    assert preemption.ineligible(pod_, None) == ""


@pytest.mark.parametrize(
    ("priority", "fits"), [pytest.param(5, False, id="less"), (10, False), pytest.param(11, True, id="more")]
)
def test_room_is_kept_for_nominated_pods(priority: int, fits: bool) -> None:
    """Only for those that are as important at least, and only on their node."""
    nominations = Nominations()
    nominations.put(info(pod("nominated", cpu="3", priority=10)), "n")
    wants, using = pod("p", cpu="2", priority=priority), profile()

    def found(*names: str) -> cycle.Decision:
        nodes = [node_info(node(name)) for name in names]
        choose = random.Random(1)
        return cycle.decide(using, info(wants), nodes, start=0, choose=choose, ahead=nominations.ahead)

    assert (found("n").node is not None) is fits
    assert found("n", "other").node is not None
    nominations.drop("uid-nominated")
    assert found("n").node is not None


@pytest.mark.parametrize("leaves", ["deleted", "being deleted", "bound"])
async def test_nobody_waits_for_room_that_is_free_again(leaves: str) -> None:
    nominations, queue = Nominations(), SchedulingQueue(FakeClock())
    watching = Watching({"default-scheduler": profile()}, Cache(), queue, nominations)
    watching.on_pod(EventType.ADDED, pod("waits", priority=1), None)
    queue.requeue(await queue.pop(), ClusterEvent.POD_DELETED)
    nominated = pod("nominated", priority=10)
    nominations.put(info(nominated), "n")
    after = copy.deepcopy(nominated)
    if leaves == "being deleted":
        after["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    elif leaves == "bound":
        after["spec"]["nodeName"] = "n"
    watching.on_pod(EventType.DELETED if leaves == "deleted" else EventType.MODIFIED, after, nominated)
    assert nominations.node_of("uid-nominated") == ""
    assert queue.counts()["backoff"] == (0 if leaves == "bound" else 1)


def test_no_victims_where_a_nominated_pod_would_still_be_in_the_way() -> None:
    nominations, using = Nominations(), profile()
    nominations.put(info(pod("nominated", cpu="3", priority=10)), "n")
    crowded, wants = node_info(node("n"), pod("low", cpu="1", priority=1)), pod("p", cpu="2", priority=5)
    rejections = decide(pod("p", cpu="4"), crowded, using=using).rejections
    ahead = nominations.ahead
    assert preemption.find_victims(using, info(wants), [crowded], rejections, [], ahead) is None
    nominations.put(info(pod("nominated", cpu="2", priority=10)), "n")
    assert preemption.find_victims(using, info(wants), [crowded], rejections, [], ahead) is not None


@pytest.mark.parametrize(("nodes", "wanted"), [(1, 1), (99, 99), (100, 100), (1000, 420), (10000, 500)])
def test_enough_feasible(nodes: int, wanted: int) -> None:
    assert cycle.enough_feasible(nodes) == wanted
