"""Which nodes a DaemonSet's pods belong on, and what must change there; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.components.controllers.nodes.selection import chooses
from minikube_py.components.controllers.nodes.tolerations import tolerates_all
from minikube_py.components.controllers.numbers import scaled
from minikube_py.components.controllers.pods import is_available, phase_of, pod_from_template
from minikube_py.components.controllers.revisions import HASH
from minikube_py.machinery.objects import Object, annotations_of, is_deleting, labels_of, metadata, name_of
from minikube_py.machinery.resources import DAEMON_SETS

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
GENERATION_LABEL = "pod-template-generation"
_ALWAYS_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


@dataclass(slots=True)
class Plan:
    """Nodes that need a pod, pods to delete, and pods found ended (they are deleted, and told about)."""

    create: list[str] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    ended: list[Object] = field(default_factory=list)


def tolerations_of(spec: Mapping[str, object]) -> list[Object]:
    """The pod's tolerations with those that every daemon pod has (``AddOrUpdateDaemonPodTolerations``)."""
    given = spec.get("tolerations")
    tolerations: list[Object] = [dict(each) for each in given] if isinstance(given, list) else []
    wanted = list(_ALWAYS_TOLERATED)
    if spec.get("hostNetwork"):
        wanted.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
    for key, effect in wanted:
        entry = {"key": key, "operator": "Exists", "effect": effect}
        if entry not in tolerations:
            tolerations.append(entry)
    return tolerations


def daemon_pod(owner: Object, node: str, revision: str) -> Object:
    """The pod for a node: bound to it by affinity, so that the scheduler places it."""
    draft = pod_from_template(owner["spec"].get("template") or {}, owner, DAEMON_SETS)
    draft["metadata"]["labels"][HASH] = revision
    generation = annotations_of(owner).get(TEMPLATE_GENERATION)
    if generation:
        draft["metadata"]["labels"][GENERATION_LABEL] = generation
    spec = draft["spec"]
    spec["tolerations"] = tolerations_of(spec)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    field_term = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = (required or {}).get("nodeSelectorTerms") or [{}]
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [{**term, "matchFields": [field_term]} for term in terms]
    }
    return draft


def target_node(pod: Object) -> str:
    """The node a daemon pod runs on or is meant for; empty when it says neither."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for entry in term.get("matchFields") or ():
            if entry.get("key") == "metadata.name" and len(entry.get("values") or ()) == 1:
                return str(entry["values"][0])
    return ""


def should_run(owner: Object, node: Object) -> tuple[bool, bool]:
    """(a pod belongs here, a pod that is here may stay)."""
    spec = (owner["spec"].get("template") or {}).get("spec") or {}
    if (spec.get("nodeName") and spec["nodeName"] != name_of(node)) or not chooses(spec, node):
        return False, False
    taints = (node.get("spec") or {}).get("taints") or ()
    tolerations = tolerations_of(spec)
    if tolerates_all(tolerations, taints, ("NoSchedule", "NoExecute")):
        return True, True
    return False, tolerates_all(tolerations, taints, ("NoExecute",))


def is_updated(pod: Object, revision: str) -> bool:
    return labels_of(pod).get(HASH) == revision


def limits(owner: Object, nodes: int) -> tuple[int, int]:
    """(max surge, max unavailable) of a rolling update over so many nodes."""
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge", 0), nodes, round_up=True)
    unavailable = scaled(rolling.get("maxUnavailable", 1), nodes, round_up=True)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def is_rolling(owner: Object) -> bool:
    return bool((owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def plan_placement(
    owner: Object, nodes: Sequence[Object], by_node: Mapping[str, Sequence[Object]], revision: str, now: float
) -> Plan:
    """Pods to create and to delete so that each fitting node has one."""
    plan = Plan()
    names = {name_of(node) for node in nodes}
    surge = is_rolling(owner) and limits(owner, len(nodes))[0] > 0
    for node in nodes:
        runs, stays = should_run(owner, node)
        pods = by_node.get(name_of(node), ())
        if runs and not pods:
            plan.create.append(name_of(node))
        elif stays:
            _settle_node(plan, owner, node, runs, pods, revision, surge, now)
        else:
            plan.delete += [pod for pod in pods if not is_deleting(pod)]
    for name, pods in by_node.items():
        if name not in names:
            # The scheduler will never place a pod that is meant for a node which is gone.
            plan.delete += [pod for pod in pods if not (pod.get("spec") or {}).get("nodeName") and not is_deleting(pod)]
    return plan


def _settle_node(
    plan: Plan,
    owner: Object,
    node: Object,
    runs: bool,
    pods: Sequence[Object],
    revision: str,
    surge: bool,
    now: float,
) -> None:
    running: list[Object] = []
    for pod in pods:
        if is_deleting(pod):
            continue
        if phase_of(pod) in ("Failed", "Succeeded"):
            plan.ended.append(pod)
        else:
            running.append(pod)
    ended_all = runs and not running and pods and all(is_deleting(pod) for pod in pods)
    if ended_all and surge:
        plan.create.append(name_of(node))
    running.sort(key=lambda pod: (0 if (pod.get("spec") or {}).get("nodeName") else 1, _created(pod)))
    if not surge:
        plan.delete += running[1:]
        return
    new = [pod for pod in running if is_updated(pod, revision)]
    old = [pod for pod in running if not is_updated(pod, revision)]
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    plan.delete += new[1:]
    if new and is_available(new[0], min_ready, now):
        plan.delete += old
    else:
        plan.delete += old[1:]


def _created(pod: Object) -> str:
    return str(metadata(pod).get("creationTimestamp", ""))


def plan_update(
    owner: Object, nodes: Sequence[Object], by_node: Mapping[str, Sequence[Object]], revision: str, now: float
) -> Plan:
    """The rolling step: old pods to replace, within maxUnavailable or maxSurge."""
    wanted = [node for node in nodes if should_run(owner, node)[0]]
    surge, most_unavailable = limits(owner, len(wanted))
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    unavailable, surging = 0, 0
    broken: list[tuple[str, Object]] = []
    candidates: list[tuple[str, Object]] = []
    for node in wanted:
        alive = [pod for pod in by_node.get(name_of(node), ()) if not is_deleting(pod)]
        new = [pod for pod in alive if is_updated(pod, revision)]
        old = [pod for pod in alive if not is_updated(pod, revision)]
        if new and old:
            surging += 1
        elif not old:
            unavailable += 0 if new and is_available(new[0], min_ready, now) else 1
        elif is_available(old[0], min_ready, now):
            candidates.append((name_of(node), old[0]))
        else:
            unavailable += 1
            broken.append((name_of(node), old[0]))
    if surge:
        free = max(0, surge - surging)
        # A pod that is not available loses nothing: it is replaced at once, without surge.
        return Plan(create=[name for name, _ in candidates[:free]], delete=[pod for _, pod in broken])
    free = max(0, most_unavailable - unavailable)
    return Plan(delete=[pod for _, pod in (*broken, *candidates[:free])])


def status_of(
    owner: Object,
    nodes: Sequence[Object],
    by_node: Mapping[str, Sequence[Object]],
    revision: str,
    collisions: int,
    now: float,
) -> Object:
    """The status; nodes count, not pods."""
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    desired = current = misscheduled = ready = available = updated = 0
    for node in nodes:
        alive = [pod for pod in by_node.get(name_of(node), ()) if not is_deleting(pod)]
        if not should_run(owner, node)[0]:
            misscheduled += 1 if alive else 0
            continue
        desired += 1
        if not alive:
            continue
        current += 1
        ready += 1 if any(_ready(pod) for pod in alive) else 0
        available += 1 if any(is_available(pod, min_ready, now) for pod in alive) else 0
        updated += 1 if any(is_updated(pod, revision) for pod in alive) else 0
    status: Object = {
        "currentNumberScheduled": current,
        "numberMisscheduled": misscheduled,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        "observedGeneration": metadata(owner).get("generation", 0),
    }
    optional = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
    }
    status |= {key: value for key, value in optional.items() if value}
    before = owner.get("status") or {}
    if collisions or before.get("collisionCount") is not None:
        status["collisionCount"] = collisions
    if before.get("conditions"):
        status["conditions"] = before["conditions"]
    return status


def _ready(pod: Object) -> bool:
    return is_available(pod, 0, 0.0)
