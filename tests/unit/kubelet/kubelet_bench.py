"""A kubelet against the fake runtime and the fake API, in virtual time, on a folder of its own.

The machine's cgroup tree is replaced by an empty folder, and memory-backed volumes by plain folders
(mounting needs privileges); what those do for real is the end-to-end suite's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from minikube_py.client.testing import FakeClient, FakeClock, FakeRecorder
from minikube_py.client.types import PatchType
from minikube_py.components.kubelet.component import run_kubelet
from minikube_py.components.kubelet.runtime.fake import FakeRuntime
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.machinery import errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import PODS
from minikube_py.machinery.times import rfc3339

NODE = "node-1"
IMAGE = "demo:1"


_MERGE_KEYS = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip", "addresses": "type"}


class NodeClient(FakeClient):
    """The fake client with what a kubelet needs beyond: strategic patches of status, tokens."""

    tokens = 0

    async def patch(  # type: ignore[no-untyped-def]
        self, resource, name, patch, namespace=None, *, patch_type=PatchType.MERGE, subresource=None, options=None
    ):
        if patch_type is PatchType.STRATEGIC:
            live = await self.get(resource, name, namespace)
            uid = (patch.get("metadata") or {}).get("uid")
            if uid is not None and uid != live["metadata"]["uid"]:
                raise errors.conflict("", resource.plural, name)
            patch = {**patch, "metadata": {}} if uid else patch
            if "status" in patch:
                patch = {**patch, "status": _merge_lists(live.get("status") or {}, patch["status"])}
        return await super().patch(resource, name, patch, namespace, subresource=subresource)

    async def create(  # type: ignore[no-untyped-def]
        self, resource, obj, namespace=None, *, name=None, subresource=None, options=None
    ):
        if subresource == "token":
            self.tokens += 1
            lifetime = obj["spec"]["expirationSeconds"]
            expires = rfc3339(self._clock.now() + lifetime)
            return {**obj, "status": {"token": f"token-{self.tokens}", "expirationTimestamp": expires}}
        return await super().create(resource, obj, namespace, name=name, subresource=subresource)


def _merge_lists(live: Object, patch: Object) -> Object:
    merged = dict(patch)
    for field_name, key in _MERGE_KEYS.items():
        if not isinstance(patch.get(field_name), list):
            continue
        items = patch[field_name]
        replaces = bool(items) and items[0].get("$patch") == "replace"
        known = {} if replaces else {item[key]: item for item in live.get(field_name) or ()}
        for item in items:
            if "$patch" not in item:
                kept = {**known.get(item[key], {}), **item}
                known[item[key]] = {name: value for name, value in kept.items() if value is not None}
        merged[field_name] = list(known.values())
    return merged


def make_pod(name: str = "web", /, **spec: object) -> Object:
    """A pod bound to the node, with one container unless ``containers`` is given."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": NODE,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}],
            **spec,
        },
    }


@dataclass
class Bench:
    """A kubelet under test and everything around it."""

    client: FakeClient
    runtime: FakeRuntime
    clock: FakeClock
    recorder: FakeRecorder
    settings: KubeletSettings
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    neighbours: CollectorRegistry = field(default_factory=CollectorRegistry)
    task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(
            run_kubelet(
                self.client,
                self.runtime,
                self.settings,
                self.clock,
                self.recorder,
                self.ready.set,
                neighbours=self.neighbours,
            )
        )

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def until(self, condition: Callable[[], object], *, seconds: float = 0.0) -> None:
        """Wait for a condition: up to ``seconds`` of virtual time, and half a minute of real time for threads."""
        end, latest = self.clock.now() + seconds, time.monotonic() + 30
        while not _holds(condition):
            assert self.task is None or not self.task.done(), self.task.result()
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            if _holds(condition):
                return
            if self.clock.now() < end:
                await self.clock.advance(min(max(0.5, seconds / 100), end - self.clock.now()))
            assert time.monotonic() < latest, "the condition did not come true"

    def status(self, name: str = "web") -> Object:
        found: Object = self.client.one(PODS, name, "default").get("status") or {}
        return found

    def phase(self, name: str = "web") -> str:
        return str(self.status(name).get("phase"))

    def is_ready(self, name: str = "web") -> bool:
        return any(c["type"] == "Ready" and c["status"] == "True" for c in self.status(name).get("conditions") or ())

    def container(self, name: str = "web", index: int = 0) -> Object:
        found: Object = self.status(name)["containerStatuses"][index]
        return found

    def container_id(self, name: str = "web", index: int = 0) -> str:
        return str(self.container(name, index)["containerID"]).partition("://")[2]

    def exists(self, name: str = "web") -> bool:
        return any(item["metadata"]["name"] == name for item in self.client.all(PODS))

    def reasons(self) -> list[str]:
        return self.recorder.reasons()


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except (KeyError, IndexError, FileNotFoundError, errors.ApiError):
        return False
