"""The scheduling framework: extension points by their Kubernetes names, as plain protocols.

"Does not fit" is a value (``Status`` with a code and reasons), never an exception. A plugin is a
small object with a name that has some of the extension points below; ``profile.Profile`` sorts
plugins by what they have. A plugin tells in ``events`` which changes of the cluster could make a
pod that it turned away schedulable; pods wait in the queue until such an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Any, Protocol

from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo

largest_node_score = 100


class Code(Enum):
    SUCCESS = "Success"
    UNSCHEDULABLE = "Unschedulable"
    UNRESOLVABLE = "UnschedulableAndUnresolvable"
    """Preempting pods would not help."""
    SKIP = "Skip"


@dataclass(frozen=True, slots=True)
class Status:
    """What an extension point says."""

    code: Code
    reasons: tuple[str, ...] = ()
    plugin: str = ""

    @property
    def ok(self) -> bool:
        return self.code is Code.SUCCESS


SUCCESS = Status(Code.SUCCESS)
SKIP = Status(Code.SKIP)


def unschedulable(plugin: str, *reasons: str) -> Status:
    return Status(Code.UNSCHEDULABLE, reasons, plugin)


def unresolvable(plugin: str, *reasons: str) -> Status:
    return Status(Code.UNRESOLVABLE, reasons, plugin)


class ClusterEvent(Flag):
    """Changes that may make a waiting pod schedulable."""

    NODE_ADDED = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABELS = auto()
    NODE_TAINTS = auto()
    NODE_UNSCHEDULABLE = auto()
    POD_ADDED = auto()
    POD_DELETED = auto()
    POD_LABELS = auto()
    CLAIM = auto()
    VOLUME = auto()
    STORAGE_CLASS = auto()
    POD_GATES = auto()
    NAMESPACE_LABELS = auto()


NODE_CHANGED = (
    ClusterEvent.NODE_ADDED
    | ClusterEvent.NODE_ALLOCATABLE
    | ClusterEvent.NODE_LABELS
    | ClusterEvent.NODE_TAINTS
    | ClusterEvent.NODE_UNSCHEDULABLE
)
NO_EVENT = ClusterEvent(0)

CycleState = dict[str, Any]
"""What plugins carry from PreFilter and PreScore to later points of one cycle, by plugin name."""


class Plugin(Protocol):
    """What every plugin has."""

    @property
    def name(self) -> str: ...

    @property
    def events(self) -> ClusterEvent: ...


class PreEnqueuePlugin(Plugin, Protocol):
    def pre_enqueue(self, pod: PodInfo) -> Status:
        """Whether the pod may enter the queue at all."""


class PreFilterPlugin(Plugin, Protocol):
    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        """Look at the pod once; SKIP leaves the plugin's filter out of this cycle."""


class FilterPlugin(Plugin, Protocol):
    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        """Whether the pod can run on the node."""


class PreScorePlugin(Plugin, Protocol):
    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status:
        """Look at the pod once; SKIP leaves the plugin's score out of this cycle."""


class ScorePlugin(Plugin, Protocol):
    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        """For each node 0 to 100, already normalised, higher is better."""


class ReservePlugin(Plugin, Protocol):
    def reserve(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status: ...

    def unreserve(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> None:
        """Undo ``reserve``; must not fail, may be called without it."""


class PreBindPlugin(Plugin, Protocol):
    async def pre_bind(self, state: CycleState, pod: PodInfo, node_name: str) -> Status:
        """What must be done before the binding; may wait long if the plugin is a ``WaitingPlugin``."""


class WaitingPlugin(PreBindPlugin, Protocol):
    def waits(self, state: CycleState, node_name: str) -> bool:
        """Whether ``pre_bind`` will wait for others: such a pod takes nobody's turn meanwhile."""


def normalise(values: Sequence[float], *, reverse: bool = False) -> list[float]:
    """Scale so that the largest becomes 100 (``helper.DefaultNormalizeScore``)."""
    most = max(values, default=0)
    if most == 0:
        return [float(largest_node_score) if reverse else 0.0 for _ in values]
    scaled = [value * largest_node_score // most for value in values]
    return [largest_node_score - value for value in scaled] if reverse else scaled


def summary(total_nodes: int, statuses: Mapping[str, Status]) -> str:
    """``0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had ...`` (``FitError.Error``)."""
    counts: dict[str, int] = {}
    for status in statuses.values():
        for reason in status.reasons:
            counts[reason] = counts.get(reason, 0) + 1
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{total_nodes} nodes are available" + (f": {listed}." if listed else ".")
