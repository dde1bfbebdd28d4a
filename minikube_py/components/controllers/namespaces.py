"""Empties and finalizes namespaces that are being deleted (``pkg/controller/namespace``).

Watches: namespaces. Deletes: everything in a terminating namespace, of every namespaced resource
that is served. Then removes the ``kubernetes`` finalizer. Conditions on the namespace say what is
left. Pods with a grace period are waited for; the wait follows their longest grace period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from minikube_py.client.types import DeleteOptions, EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import WRITE, Kit, follow, write_status
from minikube_py.machinery.conditions import find_condition, set_condition
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, is_deleting, metadata, name_of, thaw, uid_of
from minikube_py.machinery.resources import NAMESPACES, PODS, Resource

FINALIZER = "kubernetes"
first_retry_seconds = 1.0
longest_wait_seconds = 15.0
_DISCOVERY = "NamespaceDeletionDiscoveryFailure"
_GROUP_VERSION = "NamespaceDeletionGroupVersionParsingFailure"
_CONTENT = "NamespaceDeletionContentFailure"
_REMAINING = "NamespaceContentRemaining"
_FINALIZERS = "NamespaceFinalizersRemaining"


@dataclass(slots=True)
class Leftovers:
    """What one attempt left behind: objects by resource, finalizers by how many hold them, failures."""

    objects: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    grace_seconds: float = 0.0

    def count(self, resource: Resource, items: Sequence[Object]) -> None:
        """Take note of objects that are still there."""
        if not items:
            return
        self.objects[resource.qualified] = len(items)
        for item in items:
            for finalizer in metadata(item).get("finalizers") or ():
                self.finalizers[finalizer] = self.finalizers.get(finalizer, 0) + 1


def conditions_of(left: Leftovers) -> list[Object]:
    """The five conditions of a terminating namespace, with Kubernetes' texts."""
    failures = "; ".join(sorted(left.failures))
    objects = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(left.objects.items()))
    finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(left.finalizers.items()))
    rows = (
        (_DISCOVERY, "", "ResourcesDiscovered", "All resources successfully discovered"),
        (_GROUP_VERSION, "", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        (
            _CONTENT,
            f"Failed to delete all resource types, {len(left.failures)} remaining: {failures}" if failures else "",
            "ContentDeletionFailed" if failures else "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            _REMAINING,
            f"Some resources are remaining: {objects}" if objects else "",
            "SomeResourcesRemain" if objects else "ContentRemoved",
            "All content successfully removed",
        ),
        (
            _FINALIZERS,
            f"Some content in the namespace has finalizers remaining: {finalizers}" if finalizers else "",
            "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    )
    return [
        {"type": kind, "status": "True" if bad else "False", "reason": reason, "message": bad or good}
        for kind, bad, reason, good in rows
    ]


class NamespaceController:
    """The loop."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._namespaces = kit.client.informer(NAMESPACES)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="namespace", first_retry=first_retry_seconds)

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit, "namespace", self._queue, self.reconcile, (self._namespaces, self._on_namespace), workers=10
        )

    def _on_namespace(self, type: EventType, namespace: Object, old: Object | None) -> None:
        if is_deleting(namespace) and type is not EventType.DELETED:
            self._queue.add(name_of(namespace))

    async def reconcile(self, key: str) -> float | None:
        """Take one attempt at a terminating namespace; seconds until the next, None when it is done."""
        namespace = self._namespaces.get(key)
        if namespace is None or not is_deleting(namespace):
            return None
        if not (namespace.get("spec") or {}).get("finalizers"):
            await self._remove(namespace)
            return None
        left = await self._empty(key)
        if left.objects or left.failures:
            await self._note(namespace, left)
            return max(first_retry_seconds, min(left.grace_seconds / 2 + 1, longest_wait_seconds))
        await self._finalize(namespace)
        return None

    async def _empty(self, namespace: str) -> Leftovers:
        """Delete all content. Nothing else goes while pods are left (KEP-5080, ordered namespace deletion).

        A network policy, for instance, must not vanish under a pod that still runs.
        """
        left = Leftovers()
        wanted = [resource for resource in self._kit.resources() if resource.namespaced]
        if any(resource == PODS for resource in wanted):
            await self._delete_all(PODS, namespace, left)
            if left.objects or left.failures:
                return left
        rest = (self._delete_all(resource, namespace, left) for resource in wanted if resource != PODS)
        await asyncio.gather(*rest)
        return left

    async def _delete_all(self, resource: Resource, namespace: str, left: Leftovers) -> None:
        client = self._kit.client
        try:
            if not (await client.list(resource, namespace, limit=1)).items:
                return
            options = DeleteOptions(propagation_policy="Background")
            await client.delete_collection(resource, namespace, options=options)
            items = (await client.list(resource, namespace)).items
        except ApiError as error:
            if not is_not_found(error) and error.code != 405:
                left.failures.append(f"{resource.qualified}: {error.message}")
            return
        left.count(resource, items)
        if resource == PODS:
            waits = (metadata(pod).get("deletionGracePeriodSeconds") or 0 for pod in items)
            left.grace_seconds = float(max(waits, default=0))

    async def _note(self, namespace: Object, left: Leftovers) -> None:
        status = thaw(namespace.get("status") or {})
        conditions = status.setdefault("conditions", [])
        for condition in conditions_of(left):
            known = find_condition(conditions, condition["type"])
            if known is None or known.get("message") != condition["message"] or known["status"] != condition["status"]:
                set_condition(conditions, condition, self._kit.clock.now())
        await write_status(self._kit, NAMESPACES, namespace, status)

    async def _finalize(self, namespace: Object) -> None:
        """Take our finalizer away; the server deletes the namespace when it was the last one."""
        draft = thaw(namespace)
        rest = [name for name in draft["spec"].get("finalizers") or () if name != FINALIZER]
        draft["spec"]["finalizers"] = rest
        try:
            await self._kit.client.update(NAMESPACES, draft, subresource="finalize", options=WRITE)
        except ApiError as error:
            if not is_not_found(error):
                raise

    async def _remove(self, namespace: Object) -> None:
        """A namespace without finalizers that is still there is deleted for good."""
        try:
            options = DeleteOptions(precondition_uid=uid_of(namespace))
            await self._kit.client.delete(NAMESPACES, name_of(namespace), options=options)
        except ApiError as error:
            if not is_not_found(error):
                raise
