"""ResourceQuota: what a namespace may use in total is never exceeded, by however many creators at once.

The use is charged to the quota's status before the object is stored, under a lock for the namespace in
this process and a guard on the quota's resourceVersion against other servers. An object that then fails
to be stored stays charged until the quota controller counts anew, as in Kubernetes: a quota may be too
strict for a moment but never too generous. Same rules and texts as ``plugin/resourcequota``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.refusal import refuse
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import VALIDATE
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import ApiError, is_conflict
from minikube_py.machinery.objects import Object, name_of, thaw
from minikube_py.machinery.pod_resources import Amounts, amounts
from minikube_py.machinery.quantities import ZERO
from minikube_py.machinery.quota import (
    counts_updates,
    increase,
    pretty,
    scopes_match,
    unspecified,
    usage_of,
)
from minikube_py.machinery.resources import PODS, RESOURCE_QUOTAS

attempts = 5


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
            charged = [plan for quota in quotas if (plan := plan_charge(request, obj, quota)) is not None]
            if request.dry_run:
                return
            try:
                for draft in charged:
                    await self._client.update(RESOURCE_QUOTAS, draft, request.namespace, subresource="status")
            except ApiError as error:
                # Quotas charged before the conflict keep the charge until the controller counts anew.
                if not is_conflict(error) or attempt == attempts:
                    raise
            else:
                return


def plan_charge(request: AdmissionRequest, obj: Object, quota: Object) -> Object | None:
    """The quota with the object's use added, None when it does not concern the object.

    Raises ApiError(403) when the object does not say what it uses, or uses too much.
    """
    resource = request.kind.resource
    if not scopes_match(quota, resource, obj):
        return None
    status = quota.get("status") or {}
    hard = amounts(status.get("hard"))
    usage = usage_of(resource, obj)
    is_pod = resource.plural == PODS.plural and not resource.group
    if is_pod and (problem := unspecified(obj, hard)):
        raise refuse(request, f"failed quota: {name_of(quota)}: {problem}")
    before = usage_of(resource, request.old) if request.old is not None else {}
    wanted = {name: amount for name, amount in increase(usage, before).items() if name in hard}
    if not wanted:
        return None
    used = amounts(status.get("used"))
    unknown = sorted(name for name in wanted if name not in used)
    if unknown:
        raise refuse(request, f"status unknown for quota: {name_of(quota)}, resources: {','.join(unknown)}")
    _check(request, name_of(quota), wanted, used, hard)
    draft = thaw(quota)
    draft["status"]["used"] = {
        **draft["status"]["used"],
        **{name: str(used[name] + amount) for name, amount in wanted.items()},
    }
    return draft


def _check(request: AdmissionRequest, quota: str, wanted: Amounts, used: Amounts, hard: Amounts) -> None:
    exceeded = [name for name, amount in wanted.items() if amount > ZERO and used[name] + amount > hard[name]]
    if not exceeded:
        return
    requested, taken, limit = ({name: side[name] for name in exceeded} for side in (wanted, used, hard))
    raise refuse(
        request,
        f"exceeded quota: {quota}, requested: {pretty(requested)}, used: {pretty(taken)}, limited: {pretty(limit)}",
    )
