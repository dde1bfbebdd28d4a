"""A cluster in memory whose time passes only when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from minikube_py.client.testing import FakeClient, FakeClock, FakeRecorder
from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.running import Loop
from minikube_py.machinery import resources as all_resources
from minikube_py.machinery.objects import Object, name_of, namespace_of, thaw
from minikube_py.machinery.resources import PODS, Resource
from minikube_py.machinery.times import rfc3339

NAMESPACE = "default"


def served() -> Sequence[Resource]:
    """The built-in resources that components know."""
    hidden = {"bindings", "tokenreviews", "subjectaccessreviews"}
    found = [value for value in vars(all_resources).values() if isinstance(value, Resource)]
    return [resource for resource in found if resource.plural not in hidden]


@dataclass(slots=True)
class World:
    """The client, its clock, and the loops under test."""

    clock: FakeClock
    client: FakeClient
    recorder: FakeRecorder
    kit: Kit
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, make: Callable[[Kit], Loop]) -> Loop:
        loop = make(self.kit)
        self.tasks.append(asyncio.ensure_future(loop.run()))  # type: ignore[arg-type]
        return loop

    async def settle(self, seconds: float = 0.5) -> None:
        await self.clock.advance(seconds)

    def pods(self, namespace: str = NAMESPACE) -> list[Object]:
        return self.client.all(PODS, namespace)

    async def set_pod(self, pod: Object, phase: str, *, ready: bool = False, **status: object) -> Object:
        """What a kubelet would report."""
        draft = thaw(self.client.one(PODS, name_of(pod), namespace_of(pod)))
        stamp = rfc3339(self.clock.now())
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp}
        draft["status"] = {**(draft.get("status") or {}), "phase": phase, "conditions": [condition], **status}
        return await self.client.update(PODS, draft, subresource="status")

    async def run_pods(self, *, ready: bool = True) -> None:
        """Let every active pod run (and be ready)."""
        for pod in self.pods():
            if not (pod.get("status") or {}).get("phase") and not pod["metadata"].get("deletionTimestamp"):
                await self.set_pod(pod, "Running", ready=ready)
        await self.settle()
