"""Keeps ``status.used`` of ResourceQuotas right.

Watches: quotas, and the resources that some quota counts (an informer is opened when the first quota
asks for it). Objects that change nothing counted do not wake the loop. Objects that are charged and not yet
stored (``pending_charges``) are counted too: a quota may be too strict for a moment but never too generous.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minikube_py.client.controller import run_controller
from minikube_py.client.types import EventType, Informer
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import Kit, write_status
from minikube_py.components.controllers.pods import is_finished
from minikube_py.components.controllers.quota.usage import resources_for, usage_of
from minikube_py.machinery.objects import Object, is_deleting, key_of, namespace_of, split_key
from minikube_py.machinery.pod_resources import Amounts
from minikube_py.machinery.quantities import ZERO, parse_quantity
from minikube_py.machinery.quota import scopes_match
from minikube_py.machinery.resources import RESOURCE_QUOTAS, Resource

gather_seconds = 0.1
"""Many objects come and go together; their quota is counted once for all of them."""
_COUNTED_AT_ONCE = 64


class ResourceQuotaController:
    """The loop; keys are quotas."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._quotas = kit.client.informer(RESOURCE_QUOTAS)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="resourcequota")
        self._counted: dict[Resource, Informer] = {}
        self._ends: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Run until cancelled."""
        await self._quotas.synced()
        self._ends.append(self._quotas.subscribe(self._on_quota))
        try:
            await run_controller(self._queue, self.reconcile, name="resourcequota", clock=self._kit.clock, workers=2)
        finally:
            for end in self._ends:
                end()
            self._ends.clear()
            self._counted.clear()

    def _on_quota(self, type: EventType, quota: Object, old: Object | None) -> None:
        if old is None or old.get("spec") != quota.get("spec") or old.get("status") != quota.get("status"):
            self._queue.add(key_of(quota))

    def _on_counted(self, type: EventType, obj: Object, old: Object | None) -> None:
        """Additions and deletions count, and changes of what is asked for or of having ended."""
        if type is EventType.MODIFIED and old is not None and _weight(old) == _weight(obj):
            return
        for quota in self._quotas.list(namespace_of(obj)):
            self._queue.add_after(key_of(quota), gather_seconds)

    async def reconcile(self, key: str) -> None:
        """Count one quota."""
        namespace, name = split_key(key)
        quota = self._quotas.get(name, namespace)
        if quota is None:
            return
        hard = (quota.get("spec") or {}).get("hard") or {}
        # Read together with the quota: later charges change it, and then what is counted here is not written.
        pending = self._kit.settings.pending_charges(namespace, name)
        total: Amounts = {each: pending.get(each, ZERO) for each in hard}
        if pending:  # what is not stored in the end is not told to anybody
            self._queue.add_after(key, gather_seconds)
        for resource, names in resources_for(hard, self._kit.resources()).items():
            informer = await self._follow(resource)
            for number, obj in enumerate(informer.list(namespace), 1):
                if not number % _COUNTED_AT_ONCE:
                    await asyncio.sleep(0)  # what changes meanwhile brings the quota here again
                if not scopes_match(quota, resource, obj):
                    continue
                for counted, amount in usage_of(resource, obj, names).items():
                    total[counted] = total[counted] + amount
        status = {"hard": dict(hard), "used": {each: str(amount) for each, amount in total.items()}}
        if not _same(quota.get("status") or {}, status):
            await write_status(self._kit, RESOURCE_QUOTAS, quota, status)

    async def _follow(self, resource: Resource) -> Informer:
        informer = self._counted.get(resource)
        if informer is None:
            informer = self._counted[resource] = self._kit.client.informer(resource)
            await informer.synced()
            present = True

            def handle(type: EventType, obj: Object, old: Object | None) -> None:
                if not present:  # what is there already is counted by the quota that wants the informer
                    self._on_counted(type, obj, old)

            self._ends.append(informer.subscribe(handle))
            present = False
        return informer


def _weight(obj: Object) -> tuple[object, ...]:
    return (obj.get("spec"), is_finished(obj), is_deleting(obj))


def _same(one: Object, other: Object) -> bool:
    """Whether two statuses are equal in value (``1`` and ``1000m`` are)."""
    for part in ("hard", "used"):
        left, right = one.get(part) or {}, other.get(part) or {}
        if left.keys() != right.keys():
            return False
        if any(parse_quantity(left[name]) != parse_quantity(right[name]) for name in left):
            return False
    return True
