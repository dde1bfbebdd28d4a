"""Priorities of the built-in API groups and versions, as the aggregation layer orders them.

kube-aggregator sorts groups by falling ``groupPriorityMinimum`` (ties by name) and the versions of a
group by falling ``versionPriority``. The same numbers appear in the APIService objects that the API
server registers for its own groups. Groups of CustomResourceDefinitions have ``CUSTOM_GROUP_PRIORITY``
and ``CUSTOM_VERSION_PRIORITY``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupVersionPriority:
    """Where a group version stands: higher numbers come first."""

    group: str
    version: str
    group_priority: int
    version_priority: int


CUSTOM_GROUP_PRIORITY = 1000
CUSTOM_VERSION_PRIORITY = 100

BUILTIN_PRIORITIES: tuple[GroupVersionPriority, ...] = (
    GroupVersionPriority("", "v1", 18000, 1),
    GroupVersionPriority("apps", "v1", 17800, 15),
    GroupVersionPriority("events.k8s.io", "v1", 17750, 15),
    GroupVersionPriority("authentication.k8s.io", "v1", 17700, 15),
    GroupVersionPriority("authorization.k8s.io", "v1", 17600, 15),
    GroupVersionPriority("autoscaling", "v2", 17500, 30),
    GroupVersionPriority("autoscaling", "v1", 17500, 15),
    GroupVersionPriority("batch", "v1", 17400, 15),
    GroupVersionPriority("certificates.k8s.io", "v1", 17300, 15),
    GroupVersionPriority("networking.k8s.io", "v1", 17200, 15),
    GroupVersionPriority("policy", "v1", 17100, 15),
    GroupVersionPriority("rbac.authorization.k8s.io", "v1", 17000, 15),
    GroupVersionPriority("storage.k8s.io", "v1", 16800, 15),
    GroupVersionPriority("admissionregistration.k8s.io", "v1", 16700, 15),
    GroupVersionPriority("apiextensions.k8s.io", "v1", 16700, 15),
    GroupVersionPriority("scheduling.k8s.io", "v1", 16600, 15),
    GroupVersionPriority("coordination.k8s.io", "v1", 16500, 15),
    GroupVersionPriority("node.k8s.io", "v1", 16300, 15),
    GroupVersionPriority("discovery.k8s.io", "v1", 16200, 15),
    GroupVersionPriority("resource.k8s.io", "v1", 16200, 20),
    GroupVersionPriority("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
)
"""The group that the aggregation layer serves itself (apiregistration.k8s.io) comes before all of them."""
