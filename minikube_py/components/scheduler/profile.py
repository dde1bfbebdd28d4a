"""A scheduler profile: the plugins of one scheduler name, sorted by extension point, with weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.client.types import Client
from minikube_py.components.scheduler.framework import (
    FilterPlugin,
    Plugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    PreScorePlugin,
    ReservePlugin,
    ScorePlugin,
    WaitingPlugin,
)
from minikube_py.components.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from minikube_py.components.scheduler.plugins.node_affinity import NodeAffinity
from minikube_py.components.scheduler.plugins.node_resources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
)
from minikube_py.components.scheduler.plugins.node_rules import (
    ImageLocality,
    NodeName,
    NodePorts,
    NodeUnschedulable,
    SchedulingGates,
)
from minikube_py.components.scheduler.plugins.taints import TaintToleration
from minikube_py.components.scheduler.plugins.topology_spread import PodTopologySpread
from minikube_py.components.scheduler.plugins.volumes import VolumeBinding, VolumeRestrictions
from minikube_py.machinery import resources

default_scheduler_name = "default-scheduler"
default_weights: Mapping[str, int] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}


@dataclass(frozen=True, slots=True)
class Profile:
    """Plugins in the order in which they run; cheap filters come first."""

    name: str
    plugins: Sequence[Plugin]
    pre_enqueue: Sequence[PreEnqueuePlugin]
    pre_filter: Sequence[PreFilterPlugin]
    filter: Sequence[FilterPlugin]
    pre_score: Sequence[PreScorePlugin]
    score: Sequence[tuple[ScorePlugin, int]]
    reserve: Sequence[ReservePlugin]
    pre_bind: Sequence[PreBindPlugin]
    waiting: Sequence[WaitingPlugin]


def make_profile(name: str, plugins: Sequence[Plugin], weights: Mapping[str, int] = default_weights) -> Profile:
    """Sort plugins by the extension points they have."""

    def having(point: str) -> list[Plugin]:
        return [plugin for plugin in plugins if hasattr(plugin, point)]

    return Profile(
        name=name,
        plugins=plugins,
        pre_enqueue=having("pre_enqueue"),  # type: ignore[arg-type]
        pre_filter=having("pre_filter"),  # type: ignore[arg-type]
        filter=having("filter"),  # type: ignore[arg-type]
        pre_score=having("pre_score"),  # type: ignore[arg-type]
        score=[(plugin, weights.get(plugin.name, 1)) for plugin in having("score")],  # type: ignore[misc]
        reserve=having("reserve"),  # type: ignore[arg-type]
        pre_bind=having("pre_bind"),  # type: ignore[arg-type]
        waiting=having("waits"),  # type: ignore[arg-type]
    )


def default_profile(
    client: Client,
    namespace_labels: Callable[[str], Mapping[str, str]],
    *,
    further: Sequence[Plugin] = (),
    weights: Mapping[str, int] | None = None,
) -> Profile:
    """The default plugin set of v1.36 under the default scheduler's name, and ``further`` plugins with weights."""
    claims = client.informer(resources.PERSISTENT_VOLUME_CLAIMS)
    volumes = client.informer(resources.PERSISTENT_VOLUMES)
    classes = client.informer(resources.STORAGE_CLASSES)
    plugins: list[Plugin] = [
        SchedulingGates(),
        NodeUnschedulable(),
        NodeName(),
        TaintToleration(),
        NodeAffinity(),
        NodePorts(),
        NodeResourcesFit(),
        VolumeRestrictions(claims),
        VolumeBinding(client, claims, volumes, classes),
        PodTopologySpread(),
        InterPodAffinity(namespace_labels),
        NodeResourcesBalancedAllocation(),
        ImageLocality(),
        *further,
    ]
    return make_profile(default_scheduler_name, plugins, {**default_weights, **(weights or {})})
