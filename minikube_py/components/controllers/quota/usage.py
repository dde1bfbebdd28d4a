"""Which objects a quota's names count, and how much of them a living object uses; pure.

The numbers are ``machinery.quota``'s, which admission checks before an object is stored; the
controller puts them right after deletions and whatever admission did not see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minikube_py.components.controllers.pods import is_finished
from minikube_py.machinery import quota
from minikube_py.machinery.objects import Object, is_deleting
from minikube_py.machinery.pod_resources import Amounts
from minikube_py.machinery.resources import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICES,
    Resource,
)

COUNTED_BY_NAME = {
    each.plural: each
    for each in (
        CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS, SECRETS, SERVICES
    )
}  # fmt: skip
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_DEVICES_SUFFIX = ".deviceclass.resource.k8s.io/devices"
CLASS_INFIX = ".storageclass.storage.k8s.io/"


def resources_for(names: Iterable[str], served: Sequence[Resource]) -> dict[Resource, set[str]]:
    """Which resources must be looked at for these quota names."""
    wanted: dict[Resource, set[str]] = {}
    for name in names:
        resource = _resource_for(name, served)
        if resource is not None:
            wanted.setdefault(resource, set()).add(name)
    return wanted


def _resource_for(name: str, served: Sequence[Resource]) -> Resource | None:
    if name.startswith("count/"):
        qualified = name.removeprefix("count/")
        return next((each for each in served if each.qualified == qualified and each.namespaced), None)
    if name in COUNTED_BY_NAME:
        return COUNTED_BY_NAME[name]
    if name in ("services.loadbalancers", "services.nodeports"):
        return SERVICES
    if name.endswith(_DEVICES_SUFFIX):
        return next((each for each in served if each.qualified == "resourceclaims.resource.k8s.io"), None)
    if name == "requests.storage" or CLASS_INFIX in name:
        return PERSISTENT_VOLUME_CLAIMS
    bare = name.removeprefix("requests.").removeprefix("limits.")
    if bare in _COMPUTE or bare != name or name.startswith("hugepages-"):
        return PODS
    return None


def usage_of(resource: Resource, obj: Object, names: Iterable[str]) -> Amounts:
    """What an object uses of the names; those it does not use are left out.

    A pod that ended or is gone counts as an object, but uses nothing any more.
    """
    used = quota.usage_of(resource, obj)
    if resource == PODS and (is_finished(obj) or _is_overdue(obj)):
        used = {name: amount for name, amount in used.items() if name.startswith("count/")}
    return {name: used[name] for name in names if name in used}


def _is_overdue(pod: Object) -> bool:
    """A pod that is being deleted at once has left already."""
    return is_deleting(pod) and (pod.get("metadata") or {}).get("deletionGracePeriodSeconds") == 0
