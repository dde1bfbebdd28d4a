"""What the scheduler needs of a pod, derived once for each revision of it.

Source of the resource arithmetic: ``k8s.io/component-helpers/resource``: containers are summed,
init containers count by their maximum, restartable init containers (sidecars) add up from where
they start, overhead comes on top, pod-level requests win over the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from minikube_py.machinery.objects import Object, key_of, labels_of, namespace_of, uid_of
from minikube_py.machinery.quantities import quantity_milli, quantity_value
from minikube_py.machinery.selectors import Selector, selector_from_label_selector

default_milli_cpu = 100
default_memory_bytes = 200 * 1024 * 1024

Amounts = Mapping[str, int]
"""Resource name -> amount: ``cpu`` in thousandths, everything else in whole units."""


def amounts(resource_list: Mapping[str, object] | None) -> dict[str, int]:
    """A Kubernetes resource list as integers."""
    return {
        name: quantity_milli(str(value)) if name == "cpu" else quantity_value(str(value))
        for name, value in (resource_list or {}).items()
    }


def add(target: dict[str, int], more: Amounts) -> None:
    for name, value in more.items():
        target[name] = target.get(name, 0) + value


def _maximum(target: dict[str, int], other: Amounts) -> None:
    for name, value in other.items():
        if value > target.get(name, 0):
            target[name] = value


def _requests(container: Object) -> dict[str, int]:
    return amounts((container.get("resources") or {}).get("requests"))


def _non_zero(requests: dict[str, int]) -> dict[str, int]:
    """Requests with the scheduler's stand-ins for containers that ask for nothing."""
    return {"cpu": default_milli_cpu, "memory": default_memory_bytes, **requests}


def pod_requests(spec: Object, *, non_zero: bool = False) -> dict[str, int]:
    """The resources a pod asks for; ``non_zero`` is what scoring uses."""
    of = (lambda container: _non_zero(_requests(container))) if non_zero else _requests
    total: dict[str, int] = {}
    for container in spec.get("containers") or []:
        add(total, of(container))
    initial: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    for container in spec.get("initContainers") or []:
        needs = of(container)
        if container.get("restartPolicy") == "Always":
            add(total, needs)
            add(sidecars, needs)
            needs = dict(sidecars)
        else:
            add(needs, sidecars)
        _maximum(initial, needs)
    _maximum(total, initial)
    total |= amounts((spec.get("resources") or {}).get("requests"))
    add(total, amounts(spec.get("overhead")))
    return total


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """A pod (anti-)affinity term; empty ``namespaces`` and no selector mean the pod's own namespace."""

    selector: Selector
    topology_key: str
    namespaces: frozenset[str]
    namespace_selector: Selector | None
    weight: int = 0

    def covers(self, other: PodInfo, namespace_labels: Mapping[str, str]) -> bool:
        """Whether ``other`` (whose namespace has these labels) is selected."""
        if other.namespace not in self.namespaces and not (
            self.namespace_selector is not None and self.namespace_selector.matches(namespace_labels)
        ):
            return False
        return self.selector.matches(other.labels)


@dataclass(frozen=True, slots=True)
class PodInfo:
    """A pod's revision as the plugins see it. Read-only."""

    object: Object
    key: str
    uid: str
    namespace: str
    labels: Mapping[str, str]
    spec: Object
    priority: int
    requests: Amounts
    scoring_requests: Amounts
    host_ports: frozenset[tuple[str, str, int]]
    """(host address, protocol, port)"""
    required_affinity: tuple[AffinityTerm, ...] = ()
    required_anti_affinity: tuple[AffinityTerm, ...] = ()
    preferred_affinity: tuple[AffinityTerm, ...] = ()
    """Weights are negative for anti-affinity."""
    claims: tuple[str, ...] = field(default=())

    @property
    def node_name(self) -> str:
        return str(self.spec.get("nodeName") or "")

    @property
    def scheduler_name(self) -> str:
        return str(self.spec.get("schedulerName") or "default-scheduler")


def pod_info(pod: Object) -> PodInfo:
    """Derive the record of a pod."""
    spec = pod.get("spec") or {}
    affinity = spec.get("affinity") or {}
    own = namespace_of(pod)
    towards, away = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    required, preferred = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        ("preferredDuringSchedulingIgnoredDuringExecution"),
    )
    weighted = [(term["podAffinityTerm"], int(term["weight"])) for term in towards.get(preferred) or []]
    weighted += [(term["podAffinityTerm"], -int(term["weight"])) for term in away.get(preferred) or []]
    return PodInfo(
        object=pod,
        key=key_of(pod),
        uid=uid_of(pod),
        namespace=own,
        labels=labels_of(pod),
        spec=spec,
        priority=int(spec.get("priority") or 0),
        requests=pod_requests(spec),
        scoring_requests=pod_requests(spec, non_zero=True),
        host_ports=frozenset(_host_ports(spec)),
        required_affinity=tuple(_term(term, pod) for term in towards.get(required) or []),
        required_anti_affinity=tuple(_term(term, pod) for term in away.get(required) or []),
        preferred_affinity=tuple(_term(term, pod, weight) for term, weight in weighted),
        claims=tuple(_claims(pod)),
    )


def _host_ports(spec: Object) -> Iterable[tuple[str, str, int]]:
    sidecars = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or []), *sidecars]:
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"])


def _term(term: Object, pod: Object, weight: int = 0) -> AffinityTerm:
    namespaces = term.get("namespaces") or []
    namespace_selector = term.get("namespaceSelector")
    if not namespaces and namespace_selector is None:
        namespaces = [namespace_of(pod)]
    return AffinityTerm(
        selector=selector_from_label_selector(_with_label_keys(term, labels_of(pod))),
        topology_key=str(term.get("topologyKey") or ""),
        namespaces=frozenset(namespaces),
        namespace_selector=None if namespace_selector is None else selector_from_label_selector(namespace_selector),
        weight=weight,
    )


def _with_label_keys(term: Object, labels: Mapping[str, str]) -> Object | None:
    """The term's selector with matchLabelKeys and mismatchLabelKeys of the incoming pod merged in."""
    selector: Object | None = term.get("labelSelector")
    extra = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field_name, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field_name) or []
        if key in labels
    ]
    if selector is None or not extra:
        return selector
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or []), *extra]}


def _claims(pod: Object) -> Iterable[str]:
    """Names of the PersistentVolumeClaims the pod mounts, generic ephemeral volumes included."""
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]
        elif "ephemeral" in volume:
            yield f"{pod['metadata']['name']}-{volume['name']}"
