"""How many replicas measured values ask for. Pure functions.

The wanted number is the ready pods times (measured / wanted). Pods that are not ready yet, or have no sample, are
counted so that they slow a change down and never turn it around: as idle when scaling up, as loaded when scaling down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.components.controllers.horizontal_pod_autoscaler.metrics import Sample, Samples, Unmeasured
from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings
from minikube_py.components.controllers.pods import is_ready, phase_of
from minikube_py.machinery.conditions import find_condition
from minikube_py.machinery.objects import Object, is_deleting, name_of
from minikube_py.machinery.quantities import quantity_milli
from minikube_py.machinery.times import parse_time

_NO_PODS = "no pods returned by selector while calculating replica count"
_NO_SAMPLES = "did not receive metrics for targeted pods (pods might be unready)"


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far the ratio of measured to wanted may be from one, downwards and upwards, without any change."""

    down: float = 0.1
    up: float = 0.1

    def allow(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Situation:
    """What a calculation is about: the replicas now, the pods that the target's selector names, the time."""

    replicas: int
    pods: Sequence[Object]
    tolerances: Tolerances
    now: float
    settings: AutoscalerSettings = field(default_factory=AutoscalerSettings)


@dataclass(frozen=True, slots=True)
class Groups:
    """Pods by how they count; ``ignored`` are on their way out or failed."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def group_pods(situation: Situation, samples: Mapping[str, Sample], resource: str) -> Groups:
    """Sort pods by what their samples are worth."""
    ready = 0
    unready, missing, ignored = set[str](), set[str](), set[str]()
    for pod in situation.pods:
        name = name_of(pod)
        if is_deleting(pod) or phase_of(pod) == "Failed":
            ignored.add(name)
        elif phase_of(pod) == "Pending":
            unready.add(name)
        elif name not in samples:
            missing.add(name)
        elif resource == "cpu" and _starts(pod, samples[name], situation):
            unready.add(name)
        else:
            ready += 1
    return Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _starts(pod: Object, sample: Sample, situation: Situation) -> bool:
    """Whether a pod's cpu says more about its start than about its load."""
    status = pod.get("status") or {}
    condition, start = find_condition(status.get("conditions"), "Ready"), status.get("startTime")
    if condition is None or not start:
        return True
    started, since = parse_time(start), parse_time(condition["lastTransitionTime"])
    unready = condition.get("status") == "False"
    if started + situation.settings.cpu_initialization_seconds > situation.now:
        return unready or sample.timestamp < since + sample.window_seconds
    return unready and started + situation.settings.initial_readiness_seconds > since


def by_utilization(
    situation: Situation, samples: Samples, resource: str, container: str, target: int
) -> tuple[int, int, int]:
    """(replicas, utilization in percent of the requests, average value). Raises Unmeasured."""
    groups, kept = _grouped(situation, samples, resource)
    requests = {name_of(pod): _request(pod, resource, container) for pod in situation.pods}
    if not kept:
        raise Unmeasured(_NO_SAMPLES)
    percent, average = _utilization(kept, requests)

    def ratio_of(samples: Samples) -> float:
        return _utilization(samples, requests)[0] / target

    loaded = {name: Sample(requests[name] * max(100, target) // 100) for name in groups.missing}
    return _counted(situation, groups, kept, ratio_of, loaded), percent, average


def _utilization(samples: Samples, requests: Mapping[str, int]) -> tuple[int, int]:
    """(percent of what is requested, average value) over the pods that request something."""
    known = {name: sample.value for name, sample in samples.items() if name in requests}
    used, requested = sum(known.values()), sum(requests[name] for name in known)
    if not requested:
        raise Unmeasured("no metrics returned matched known pods")
    return used * 100 // requested, used // len(known)


def _request(pod: Object, resource: str, container: str) -> int:
    """What a pod, or one of its containers, requests. Raises Unmeasured where nothing is requested."""
    spec = pod.get("spec") or {}
    whole = ((spec.get("resources") or {}).get("requests") or {}).get(resource)
    if whole is not None and not container:
        return quantity_milli(whole)
    sidecars = [part for part in spec.get("initContainers") or () if part.get("restartPolicy") == "Always"]
    total = 0
    for part in (*(spec.get("containers") or ()), *sidecars):
        if container and part.get("name") != container:
            continue
        amount = ((part.get("resources") or {}).get("requests") or {}).get(resource)
        if amount is None:
            raise Unmeasured(f"missing request for {resource} in container {part.get('name')} of Pod {name_of(pod)}")
        total += quantity_milli(amount)
    return total


def by_average(situation: Situation, samples: Samples, resource: str, target: int) -> tuple[int, int]:
    """(replicas, average value) for a value that each pod should have. Raises Unmeasured."""
    groups, kept = _grouped(situation, samples, resource)
    if not kept:
        raise Unmeasured(_NO_SAMPLES)
    average = _average(kept)

    def ratio_of(samples: Samples) -> float:
        return _average(samples) / target

    loaded = {name: Sample(target) for name in groups.missing}
    return _counted(situation, groups, kept, ratio_of, loaded), average


def _average(samples: Samples) -> int:
    return sum(sample.value for sample in samples.values()) // len(samples)


def _grouped(situation: Situation, samples: Samples, resource: str) -> tuple[Groups, Samples]:
    """The pods' groups, and the samples that count."""
    if not situation.pods:
        raise Unmeasured(_NO_PODS)
    groups = group_pods(situation, samples, resource)
    out = groups.ignored | groups.unready
    return groups, {name: sample for name, sample in samples.items() if name not in out}


def _counted(
    situation: Situation, groups: Groups, kept: Samples, ratio_of: Callable[[Samples], float], loaded: Samples
) -> int:
    """The replicas for the ratio of measured to wanted that samples have.

    ``loaded`` stand for the pods without samples when scaling down.
    """
    ratio = ratio_of(kept)
    rebalance = bool(groups.unready) and ratio > 1.0
    if not rebalance and not groups.missing:
        return situation.replicas if situation.tolerances.allow(ratio) else math.ceil(ratio * groups.ready)
    idle = {name: Sample(0) for name in (groups.missing | groups.unready if rebalance else groups.missing)}
    filled = {**kept, **(loaded if ratio < 1.0 else idle)}
    ratio_then = ratio_of(filled)
    turned = (ratio < 1.0 < ratio_then) or (ratio_then < 1.0 < ratio)
    if situation.tolerances.allow(ratio_then) or turned or ratio == 1.0:
        return situation.replicas
    wanted = math.ceil(ratio_then * len(filled))
    if (ratio_then < 1.0 and wanted > situation.replicas) or (ratio_then > 1.0 and wanted < situation.replicas):
        return situation.replicas
    return wanted


def by_total(situation: Situation, value: int, target: int) -> int:
    """Replicas for one value of them all together. Raises Unmeasured."""
    ratio = value / target
    if not situation.replicas:
        return math.ceil(ratio)
    if situation.tolerances.allow(ratio):
        return situation.replicas
    if not situation.pods:
        raise Unmeasured(f"unable to calculate ready pods: {_NO_PODS}")
    ready = sum(1 for pod in situation.pods if phase_of(pod) == "Running" and is_ready(pod))
    return math.ceil(ratio * ready)


def by_share(observed: int, tolerances: Tolerances, value: int, target: int) -> tuple[int, int]:
    """(replicas, each one's share) for one value that they have to share; ``observed`` are there now."""
    replicas = observed
    if not observed or not tolerances.allow(value / (target * observed)):
        replicas = math.ceil(value / target)
    return replicas, math.ceil(value / observed) if observed else value
