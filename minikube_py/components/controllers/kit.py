"""What every control loop is given, and how every loop runs.

A loop is a class with ``async run()``: it asks for informers, subscribes handlers that only map a
change to keys, and reconciles keys from its queue. ``follow`` is that frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from minikube_py.client.controller import run_controller
from minikube_py.client.types import Client, EventRecorder, Handler, Informer, WriteOptions
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.settings import ControllerSettings
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object, namespace_of
from minikube_py.machinery.resources import Resource

WRITE = WriteOptions(field_manager="kube-controller-manager")
"""Options of every write, so that managed fields name the writer as in Kubernetes."""


@dataclass(frozen=True, slots=True)
class Kit:
    """The surroundings of a loop. ``resources`` gives every listable, deletable resource that is served now.

    ``acting_as`` gives the clients of other service accounts, for a loop that stands for two of Kubernetes'.
    """

    client: Client
    clock: Clock
    recorder: EventRecorder
    settings: ControllerSettings
    resources: Callable[[], Sequence[Resource]]
    acting_as: Callable[[str], Client] | None = None

    def client_of(self, account: str) -> Client:
        return self.client if self.acting_as is None else self.acting_as(account)


async def follow(
    kit: Kit,
    name: str,
    queue: WorkQueue[str],
    reconcile: Callable[[str], Awaitable[float | None]],
    *subscriptions: tuple[Informer, Handler],
    workers: int = 5,
) -> None:
    """Feed ``queue`` from the subscriptions once all informers are synced, and reconcile until cancelled."""
    for informer, _ in subscriptions:
        await informer.synced()
    ends = [informer.subscribe(handler) for informer, handler in subscriptions]
    try:
        await run_controller(queue, reconcile, name=name, clock=kit.clock, workers=workers)
    finally:
        for end in ends:
            end()


async def write_status(kit: Kit, resource: Resource, live: Object, status: Object) -> bool:
    """Write the status unless it is what is there; returns whether it was written. Raises Conflict."""
    if (live.get("status") or {}) == status:
        return False
    draft = {**live, "status": status}
    await kit.client.update(resource, draft, namespace_of(live) or None, subresource="status", options=WRITE)
    return True
