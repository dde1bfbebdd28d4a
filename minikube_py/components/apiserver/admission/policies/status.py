"""validatingadmissionpolicy-status-controller: writes what type checking finds into the status of policies.

A control loop that the server runs beside the controllers; it lives here because it needs the kinds that are
served. Each generation of a policy is checked once, in a thread. Same rules as
``pkg/controller/validatingadmissionpolicystatus``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minikube_py.client.controller import run_controller
from minikube_py.client.types import Client, EventType, PatchType, WriteOptions
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.apiserver.admission.policies.source import VALIDATING
from minikube_py.components.apiserver.admission.policies.type_checking import expression_warnings
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, name_of

NAME = "validatingadmissionpolicy-status"


async def run_policy_status(client: Client, kinds: Kinds, clock: Clock, ready: Callable[[], None]) -> None:
    """Keep the status of policies up to date until cancelled."""
    policies = client.informer(VALIDATING)
    queue: WorkQueue[str] = WorkQueue(clock, name=NAME)

    def changed(event: EventType, policy: Object, previous: Object | None) -> None:
        if event is not EventType.DELETED and is_unobserved(policy):
            queue.add(name_of(policy))

    async def reconcile(name: str) -> None:
        policy = policies.get(name)
        if policy is not None and is_unobserved(policy):
            await write_status(client, kinds, policy)

    await policies.synced()
    unsubscribe = policies.subscribe(changed)
    ready()
    try:
        await run_controller(queue, reconcile, name=NAME, clock=clock, workers=1)
    finally:
        unsubscribe()


def is_unobserved(policy: Object) -> bool:
    """Whether the status is of an older generation."""
    observed = (policy.get("status") or {}).get("observedGeneration") or 0
    return int(policy["metadata"].get("generation") or 0) > int(observed)


async def write_status(client: Client, kinds: Kinds, policy: Object) -> None:
    """Check a policy and apply its status. Raises ApiError."""
    warnings = await asyncio.to_thread(expression_warnings, policy, kinds)
    checked: Object = {"expressionWarnings": warnings} if warnings else {}
    status = {"observedGeneration": policy["metadata"]["generation"], "typeChecking": checked}
    applied: Object = {
        "apiVersion": VALIDATING.api_version,
        "kind": VALIDATING.kind,
        "metadata": {"name": name_of(policy)},
        "status": status,
    }
    options = WriteOptions(field_manager=NAME, force=True)
    try:
        await client.patch(
            VALIDATING, name_of(policy), applied, patch_type=PatchType.APPLY, subresource="status", options=options
        )
    except ApiError as error:
        if not is_not_found(error):  # deleted in the meantime
            raise
