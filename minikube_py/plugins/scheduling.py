"""Scheduler rules of plugins as plugins of the scheduling framework.

A rule that fails or blocks rejects nothing: a filter lets the node pass, a score counts as 0, and the failure is
logged. So a broken rule can misplace pods but never stop scheduling.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from minikube_py.components.scheduler.framework import (
    NODE_CHANGED,
    SUCCESS,
    ClusterEvent,
    CycleState,
    Plugin,
    Status,
    largest_node_score,
    unschedulable,
)
from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo
from minikube_py.plugins.declaration import Rule
from minikube_py.plugins.watchdog import PluginStuck, Watchdog

log = logging.getLogger(__name__)


class _Rule:
    """What filter and score have in common; ``name`` is unique among the framework's plugins."""

    events = NODE_CHANGED | ClusterEvent.POD_DELETED

    def __init__(self, plugin: str, rule: Rule, watchdog: Watchdog, enabled: Callable[[str], bool]) -> None:
        self.name = f"{plugin}.{rule.name}"
        self._plugin = plugin
        self._function = rule.function
        self._watchdog = watchdog
        self._enabled = enabled

    def ask(self, pod: PodInfo, node: NodeInfo) -> object:
        """What the function says of a node; None when it fails or the plugin is switched off."""
        if node.object is None or not self._enabled(self._plugin):
            return None
        try:
            return self._watchdog.step(self.name, self._function, pod.object, node.object)
        except (PluginStuck, Exception) as error:
            log.error("scheduler rule failed", extra={"part": self.name, "error": f"{type(error).__name__}: {error}"})
            return None


class FilterRule(_Rule):
    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status:
        reason = self.ask(pod, node)
        return SUCCESS if reason is None else unschedulable(self.name, str(reason))


class ScoreRule(_Rule):
    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Sequence[float]:
        return [_score(self.ask(pod, node)) for node in nodes]


def _score(value: object) -> float:
    if not isinstance(value, int | float) or value != value:
        return 0.0
    return float(min(max(value, 0), largest_node_score))


def framework_plugins(
    rules: Sequence[tuple[str, Rule]], watchdog: Watchdog, enabled: Callable[[str], bool]
) -> tuple[list[Plugin], Mapping[str, int]]:
    """(plugins, weights by their names) for (plugin name, rule) pairs."""
    made: list[Plugin] = []
    weights: dict[str, int] = {}
    for plugin, rule in rules:
        sort = FilterRule if rule.point == "filter" else ScoreRule
        found = sort(plugin, rule, watchdog, enabled)
        made.append(found)
        weights[found.name] = rule.weight
    return made, weights
