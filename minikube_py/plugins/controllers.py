"""Runs a plugin's controllers and background functions with the work queue and informers of the built-in ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minikube_py.client.controller import run_controller
from minikube_py.client.types import EventType, Handler, Informer
from minikube_py.client.workqueue import WorkQueue
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.plugins.context import Context, Key
from minikube_py.plugins.declaration import Background, Controller, split_kind
from minikube_py.plugins.watchdog import Watchdog


async def run_declared_controller(
    context: Context, controller: Controller, watchdog: Watchdog, enabled: Callable[[], bool]
) -> None:
    """Reconcile until cancelled; waits until the kinds are served. Keys pass by while it is not enabled."""
    primary = await context.served(controller.kind)
    owned = [await context.served(kind) for kind in controller.owns]
    queue: WorkQueue[Key] = WorkQueue(context.clock)
    part = f"{context.name}.{controller.name}"

    async def reconcile(key: Key) -> float | None:
        if not enabled():
            return None
        async with asyncio.timeout(controller.timeout_seconds):
            again: float | None = await watchdog.watched(part, controller.reconcile(context, key))  # type: ignore[arg-type]
            return again

    def changed(kind: EventType, obj: Object, old: Object | None) -> None:
        queue.add(Key(namespace_of(obj), name_of(obj)))

    informers: list[tuple[Informer, Handler]] = [(context.client.informer(primary), changed)]
    informers += [(context.client.informer(resource), _owner_handler(controller, queue)) for resource in owned]
    for informer, _ in informers:
        await informer.synced()
    ends: list[Callable[[], None]] = [informer.subscribe(handler) for informer, handler in informers]
    try:
        await run_controller(queue, reconcile, name=part, clock=context.clock, workers=controller.workers)
    finally:
        for end in ends:
            end()


def _owner_handler(controller: Controller, queue: WorkQueue[Key]) -> Handler:
    """Changes of owned objects bring up their owner, also the one that they had before."""
    group, kind = split_kind(controller.kind)[0].rpartition("/")[0], split_kind(controller.kind)[1]

    def changed(event: EventType, obj: Object, old: Object | None) -> None:
        for state in (obj, old):
            for reference in (state or {}).get("metadata", {}).get("ownerReferences") or ():
                theirs = str(reference.get("apiVersion", "")).rpartition("/")[0]
                if reference.get("controller") and (theirs, reference.get("kind")) == (group, kind):
                    queue.add(Key(namespace_of(obj), reference["name"]))

    return changed


async def run_background(
    context: Context, background: Background, watchdog: Watchdog, enabled: Callable[[], bool]
) -> None:
    """Run the function once; forever wait when it is not enabled."""
    if not enabled():
        await asyncio.Event().wait()
    await watchdog.watched(f"{context.name}.{background.name}", background.function(context))  # type: ignore[arg-type]
