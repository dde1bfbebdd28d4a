"""ResourceQuota: what a namespace may use in total is never exceeded, by however many creators at once.

The use is charged to the quota's status before the object is stored, under a lock for the namespace in
this process and a guard on the quota's resourceVersion against other servers. An object that then fails
to be stored stays charged until the quota controller counts anew, as in Kubernetes: a quota may be too
strict for a moment but never too generous. A controller that counts while an object is charged and not
yet stored would take the charge away, as it does in Kubernetes; ``pending`` tells it of those of this process.
Same rules and texts as ``plugin/resourcequota``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.refusal import refuse
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import VALIDATE
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import ApiError, is_conflict
from minikube_py.machinery.objects import Object, name_of, resource_version_of, thaw
from minikube_py.machinery.pod_resources import Amounts, amounts
from minikube_py.machinery.quantities import ZERO
from minikube_py.machinery.quota import (
    counts_updates,
    increase,
    names_counted,
    pretty,
    scopes_match,
    unspecified,
    usage_of,
)
from minikube_py.machinery.resources import PODS, RESOURCE_QUOTAS, Resource

attempts = 20
"""Against the quota controller, which writes now and then, and other servers; each costs one write."""


@dataclass(slots=True)
class _Line:
    """The queue at the quotas of one namespace; forgotten when nobody stands in it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class ResourceQuotaPlugin:
    """Every creation in a namespace with quotas, and updates that change what is used."""

    name = "ResourceQuota"
    phases = (VALIDATE,)

    def __init__(self, client: Client, quotas: Lookup) -> None:
        self._pending: dict[tuple[str, str], dict[int, Amounts]] = {}
        """By namespace and name of a quota: what writes on their way have charged to it."""
        self._client = client
        self._quotas = quotas
        self._lines: dict[str, _Line] = {}

    def handles(self, request: AdmissionRequest) -> bool:
        if not request.namespace or request.kind.extra.get("virtual"):
            return False
        resource = request.kind.resource
        if request.operation is Operation.CREATE:
            return not request.subresource
        if request.operation is not Operation.UPDATE:
            return False
        resizes = resource.plural == PODS.plural and not resource.group and request.subresource == "resize"
        return resizes or (not request.subresource and counts_updates(resource))

    def pending(self, namespace: str, quota: str) -> Amounts:
        """What a quota is charged with by writes of this process that are not stored yet.

        Whoever counts what is stored adds it; else room would be given away twice.
        """
        total: Amounts = {}
        for charge in self._pending.get((namespace, quota), {}).values():
            for name, amount in charge.items():
                total[name] = total[name] + amount if name in total else amount
        return total

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is None or not await self._quotas.list(request.namespace):
            return
        line = self._lines.setdefault(request.namespace, _Line())
        line.waiting += 1
        try:
            async with line.lock:
                await self._charge(request, request.object)
        finally:
            line.waiting -= 1
            if not line.waiting:
                self._lines.pop(request.namespace, None)

    async def _charge(self, request: AdmissionRequest, obj: Object) -> None:
        for attempt in range(1, attempts + 1):
            quotas = sorted(await self._quotas.list(request.namespace), key=name_of)
            charged = plan_charges(request, obj, quotas)
            if request.dry_run:
                return
            self._expect(request, quotas, charged)
            try:
                for draft in charged:
                    await self._client.update(RESOURCE_QUOTAS, draft, request.namespace, subresource="status")
            except ApiError as error:
                # Quotas charged before the conflict keep the charge until the controller counts anew.
                if not is_conflict(error) or attempt == attempts:
                    raise
            else:
                return

    def _expect(self, request: AdmissionRequest, quotas: Sequence[Object], charged: Sequence[Object]) -> None:
        """Remember the charges until the write has ended. Before they are written: then others may see them."""
        before = {name_of(quota): _used(quota) for quota in quotas}
        keys = [(request.namespace, name_of(draft)) for draft in charged]
        for key, draft in zip(keys, charged, strict=True):
            self._pending.setdefault(key, {})[id(request)] = increase(_used(draft), before[key[1]])
        if request.ended is None:
            request.ended = []
        request.ended.append(partial(self._forget, keys, id(request)))

    def _forget(self, keys: Sequence[tuple[str, str]], request: int) -> None:
        for key in keys:
            charges = self._pending.get(key, {})
            charges.pop(request, None)
            if not charges:
                self._pending.pop(key, None)


def _used(quota: Object) -> Amounts:
    return amounts((quota.get("status") or {}).get("used"))


def plan_charges(request: AdmissionRequest, obj: Object, quotas: Sequence[Object]) -> list[Object]:
    """The quotas that concern the object, with its use added (``resourcequota.CheckRequest``).

    Raises ApiError(403) when the object does not say what it uses, or uses too much; that of any quota which cannot
    judge the object comes before that of one which is exceeded.
    """
    resource = request.kind.resource
    concerned = [quota for quota in quotas if _concerns(quota, resource, obj)]
    for quota in concerned:
        _check_judgeable(request, obj, quota)
    # An object that an update makes has nothing before it.
    old = request.old if request.old is not None and resource_version_of(request.old) else None
    wanted = increase(usage_of(resource, obj), usage_of(resource, old) if old is not None else {})
    charged = []
    for quota in concerned:
        status = quota.get("status") or {}
        hard, used = amounts(status.get("hard")), amounts(status.get("used"))
        more = {name: amount for name, amount in wanted.items() if name in hard}
        if not more:
            continue
        _check(request, name_of(quota), more, used, hard)
        draft = thaw(quota)
        sums = {name: str(used.get(name, ZERO) + amount) for name, amount in more.items()}
        draft["status"]["used"] = {**(status.get("used") or {}), **sums}
        charged.append(draft)
    return charged


def _concerns(quota: Object, resource: Resource, obj: Object) -> bool:
    hard = (quota.get("status") or {}).get("hard") or {}
    return bool(names_counted(resource, hard)) and scopes_match(quota, resource, obj)


def _check_judgeable(request: AdmissionRequest, obj: Object, quota: Object) -> None:
    resource = request.kind.resource
    status = quota.get("status") or {}
    names = names_counted(resource, status.get("hard") or {})
    is_pod = resource.plural == PODS.plural and not resource.group
    if is_pod and (problem := unspecified(obj, names)):
        raise refuse(request, f"failed quota: {name_of(quota)}: {problem}")
    if not set(names) <= (status.get("used") or {}).keys():
        raise refuse(request, f"status unknown for quota: {name_of(quota)}, resources: {','.join(names)}")


def _check(request: AdmissionRequest, quota: str, wanted: Amounts, used: Amounts, hard: Amounts) -> None:
    exceeded = [name for name, amount in wanted.items() if used[name] + amount > hard[name]]
    if not exceeded:
        return
    requested, taken, limit = ({name: side[name] for name in exceeded} for side in (wanted, used, hard))
    raise refuse(
        request,
        f"exceeded quota: {quota}, requested: {pretty(requested)}, used: {pretty(taken)}, limited: {pretty(limit)}",
    )
