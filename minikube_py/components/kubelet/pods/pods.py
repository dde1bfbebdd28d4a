"""All pods of this node: turns what the API, the manifest folder and the runtime say into workers.

Promises: every pod of the node has exactly one worker until nothing of it is left; whatever the
runtime, the disk or the cgroup tree holds of unknown pods is ended and removed, but only after the
API's pods are known. Runtime events wake the worker concerned; a slow relist finds what events missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from minikube_py.client.types import EventType, Informer
from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.admission import READ_ANEW, check, node_of
from minikube_py.components.kubelet.pods.lifecycle import Stage
from minikube_py.components.kubelet.pods.model import (
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    TERMINATION_GRACE_ANNOTATION,
    describe,
    is_finished,
    is_mirror,
    spec_of,
)
from minikube_py.components.kubelet.pods.static import delete_mirror, ensure_mirror, follow_static_pods, mirrors
from minikube_py.components.kubelet.pods.status import Verdict
from minikube_py.components.kubelet.pods.worker import Origin, PodWorker
from minikube_py.components.kubelet.runtime.types import Container, ContainerState, RuntimeFailure, Sandbox
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, key_of, uid_of
from minikube_py.machinery.resources import NODES

log = logging.getLogger(__name__)

events_retry_seconds = 1.0
worker_retry_seconds = 5.0


class Pods:
    """The workers of this node; tasks live in ``group``. All methods run on the event loop."""

    def __init__(
        self, kit: Kit, group: asyncio.TaskGroup, informer: Informer, nodes: Informer, node_labels: Mapping[str, str]
    ) -> None:
        """``nodes`` shows this node; until it is registered it has ``node_labels``."""
        self._nodes = nodes
        self._kit = kit
        self._group = group
        self._informer = informer
        self._labels = node_labels
        self._gate = asyncio.Semaphore(kit.settings.parallel_syncs)
        self._workers: dict[str, PodWorker] = {}
        self._static: dict[str, Object] = {}
        self._static_known = kit.settings.static_pod_dir is None

    @property
    def workers(self) -> Sequence[PodWorker]:
        return list(self._workers.values())

    def worker(self, uid: str) -> PodWorker | None:
        return self._workers.get(uid)

    def find(self, namespace: str, name: str, uid: str = "") -> PodWorker | None:
        """The worker of a pod by name; of several (a static pod's successor) the one that lives longest."""
        key = f"{namespace}/{name}"
        found = [item for item in self._workers.values() if key_of(item.pod) == key and uid in ("", item.uid)]
        return next((item for item in found if item.stage is Stage.SYNC), found[0] if found else None)

    def pods(self) -> Sequence[Object]:
        """The pods bound to this node, with the status as the kubelet knows it."""
        return [
            {**item.pod, "status": {**(item.pod.get("status") or {}), **item.status}}
            for item in self._workers.values()
            if not item.origin.orphan
        ]

    async def run(self) -> None:
        """Follow all sources until cancelled."""
        await self._informer.synced()
        if self._kit.settings.static_pod_dir is not None:
            folder, name = self._kit.settings.static_pod_dir, self._kit.settings.node_name
            follow = follow_static_pods(folder, name, self._kit.clock, self._take_static)
            self._group.create_task(follow, name="static-pods")
        self._group.create_task(self._follow_runtime(), name="runtime-events")
        unsubscribe = self._informer.subscribe(self._on_pod)
        try:
            await self._relist_forever()
        finally:
            unsubscribe()

    # -- the API --

    def _on_pod(self, type: EventType, pod: Object, previous: Object | None) -> None:
        if is_mirror(pod):
            self._on_mirror(type, pod)
            return
        worker = self._workers.get(uid_of(pod))
        if type is EventType.DELETED:
            if worker is not None:
                worker.pod = pod
                worker.removed()
        elif worker is None or worker.origin.orphan:
            if worker is None:
                self._begin(PodWorker(self._kit, pod, gate=self._gate, admit=self._admit))
        else:
            worker.update(pod)

    def _begin(self, worker: PodWorker) -> None:
        self._workers[worker.uid] = worker
        self._group.create_task(self._keep(worker), name=f"pod-{key_of(worker.pod)}")
        self._kit.metrics.containers_per_pod.observe(len(spec_of(worker.pod).get("containers") or ()))
        self.count()

    async def _keep(self, worker: PodWorker) -> None:
        """Run a worker to its end; a fault in one pod is logged and its worker begun anew."""
        try:
            await worker.run()
        except Exception:
            log.exception("pod worker failed", extra={"pod": describe(worker.pod)})
            await self._kit.clock.sleep(worker_retry_seconds)
            again = PodWorker(self._kit, worker.pod, gate=self._gate, admit=self._admit, origin=worker.origin)
            if self._is_wanted(worker):
                self._begin(again)
            else:
                again.removed()
                self._begin(again)
            return
        del self._workers[worker.uid]
        self.count()
        self._begin_waiting_static(key_of(worker.pod))
        if worker.uid in self._workers:
            self._kit.metrics.restarted_pods.labels("true" if worker.origin.static else "").inc()

    def _is_wanted(self, worker: PodWorker) -> bool:
        if worker.origin.static:
            return uid_of(self._static.get(key_of(worker.pod), {})) == worker.uid
        meta = worker.pod["metadata"]
        found = self._informer.get(meta["name"], meta.get("namespace"))
        return found is not None and uid_of(found) == worker.uid

    async def _admit(self, pod: Object) -> Verdict | None:
        """The node's own check. It ends without an await, so no two pods are let in on the same room. ApiError.

        Where labels or taints stand in the way the Node is read anew: they may have been changed a moment ago.
        """
        name = self._kit.settings.node_name
        node = self._nodes.get(name) or {"metadata": {"name": name, "labels": self._labels}}
        verdict = self._judge(pod, node)
        if verdict is not None and verdict.reason in READ_ANEW:
            verdict = self._judge(pod, await self._kit.client.get(NODES, name))
        return verdict

    def _judge(self, pod: Object, node: Object) -> Verdict | None:
        others = [
            item.pod
            for item in self._workers.values()
            if item.uid != uid_of(pod)
            and item.stage is Stage.SYNC
            and not item.origin.orphan
            and not is_finished(item.pod)
            and item.admitted
        ]
        seen = node_of(node, self._kit.node.allocatable)
        return check(pod, others, seen, unsafe_sysctls=self._kit.settings.allowed_unsafe_sysctls)

    def count(self) -> None:
        """Bring the numbers of pods in the metrics up to date."""
        for static in (False, True):
            chosen = [item for item in self._workers.values() if item.origin.static is static]
            label = "true" if static else ""
            self._kit.metrics.desired_pods.labels(label).set(len(chosen))
            self._kit.metrics.active_pods.labels(label).set(sum(item.stage is Stage.SYNC for item in chosen))
        self._kit.metrics.mirror_pods.set(len(self._static))
        self._kit.metrics.working_pods.clear()
        for worker in self._workers.values():
            if worker.stage is not Stage.GONE:
                config, kind = "runtime_only" if worker.origin.orphan else "desired", worker.origin.static
                self._kit.metrics.working_pods.labels(config, worker.stage.value, "true" if kind else "").inc()
        specs = (spec_of(worker.pod) for worker in self._workers.values())
        self._kit.metrics.ephemeral_containers.set(sum(len(spec.get("ephemeralContainers") or ()) for spec in specs))

    # -- static pods --

    def _take_static(self, pods: Sequence[Object]) -> None:
        """The folder's pods as they are now: end those that are gone or changed, begin new ones."""
        self._static = {key_of(pod): pod for pod in pods}
        self._static_known = True
        wanted = {uid_of(pod) for pod in pods}
        for worker in self.workers:
            if worker.origin.static and worker.uid not in wanted:
                worker.removed()
        for key in self._static:
            self._begin_waiting_static(key)
        for mirror in self._informer.list():
            if is_mirror(mirror):
                self._on_mirror(EventType.MODIFIED, mirror)

    def _begin_waiting_static(self, key: str) -> None:
        """Begin the static pod of this name unless its predecessor still lives."""
        pod = self._static.get(key)
        if pod is None or any(key_of(item.pod) == key for item in self._workers.values()):
            return
        worker = PodWorker(self._kit, pod, gate=self._gate, admit=self._admit, origin=Origin(static=True))
        self._begin(worker)
        existing = self._informer.get(pod["metadata"]["name"], pod["metadata"]["namespace"])
        if existing is not None and mirrors(existing, pod):
            worker.observe_mirror(existing)
        self._group.create_task(ensure_mirror(self._kit.client, pod, existing, self._kit.settings.node_name))

    def _on_mirror(self, type: EventType, mirror: Object) -> None:
        pod = self._static.get(key_of(mirror))
        if pod is None:
            if type is not EventType.DELETED and self._static_known:
                self._group.create_task(self._drop_mirror(mirror))
            return
        if type is EventType.DELETED or not mirrors(mirror, pod):
            existing = None if type is EventType.DELETED else mirror
            self._group.create_task(ensure_mirror(self._kit.client, pod, existing, self._kit.settings.node_name))
            return
        worker = self._workers.get(uid_of(pod))
        if worker is not None:
            worker.observe_mirror(mirror)

    async def _drop_mirror(self, mirror: Object) -> None:
        try:
            await delete_mirror(self._kit.client, mirror)
        except ApiError as error:
            log.info("cannot delete mirror pod", extra={"pod": key_of(mirror), "error": error.message})

    # -- the runtime --

    async def _follow_runtime(self) -> None:
        """Hand runtime events to the workers; when the stream breaks, look at everything and go on."""
        while True:
            try:
                async for event in self._kit.runtime.events():
                    worker = self._workers.get(event.pod_uid)
                    if worker is not None:
                        worker.on_event(event)
            except RuntimeFailure as failure:
                log.warning("runtime events broke off", extra={"error": str(failure)})
            await self._kit.clock.sleep(events_retry_seconds)
            for worker in self._workers.values():
                worker.wake()

    async def _relist_forever(self) -> None:
        """The backstop: events may be lost with the runtime's connection; two calls a minute find that."""
        before: float | None = None
        while True:
            begin = self._kit.clock.monotonic()
            if before is not None:
                self._kit.metrics.relist_interval_seconds.observe(begin - before)
            before = begin
            try:
                await self._relist()
                self._kit.metrics.relisted.set(self._kit.clock.now())
            except (RuntimeFailure, OSError) as failure:
                log.warning("relist failed", extra={"error": str(failure)})
            self._kit.metrics.relist_seconds.observe(self._kit.clock.monotonic() - begin)
            await self._kit.clock.sleep(self._kit.settings.relist_seconds)

    async def _relist(self) -> None:
        known = set(self._workers)
        sandboxes = await self._kit.runtime.list_sandboxes()
        listed = await self._kit.runtime.list_containers()
        self._wake_changed(sandboxes, listed)
        running = sum(item.state is ContainerState.RUNNING for item in listed)
        self._kit.metrics.running_containers.labels("running").set(running)
        self._kit.metrics.running_pods.set(sum(item.ready for item in sandboxes))
        if not self._static_known:
            return
        for sandbox in sandboxes:
            uid = sandbox.labels.get(POD_UID_LABEL) or sandbox.identity.uid
            if uid and uid not in self._workers:
                self._kit.metrics.orphaned_runtime_pods.inc()
                pod = _orphan(sandbox, [item for item in listed if item.sandbox_id == sandbox.id])
                self._begin(PodWorker(self._kit, pod, gate=self._gate, admit=self._admit, origin=Origin(orphan=True)))
        await self._remove_leftovers(known)

    def _wake_changed(self, sandboxes: Sequence[Sandbox], listed: Sequence[Container]) -> None:
        """Wake the workers whose picture of the runtime is not what the runtime says now."""
        now: dict[str, set[tuple[str, object]]] = {uid: set() for uid in self._workers}
        for sandbox in sandboxes:
            now.setdefault(sandbox.labels.get(POD_UID_LABEL, ""), set()).add((sandbox.id, sandbox.ready))
        for item in listed:
            now.setdefault(item.labels.get(POD_UID_LABEL, ""), set()).add((item.id, item.state))
        for uid, worker in self._workers.items():
            seen: set[tuple[str, object]] = {(item.sandbox.id, item.sandbox.ready) for item in worker.state.sandboxes}
            seen |= {(item.container.id, item.container.state) for item in worker.state.containers}
            if seen != now[uid]:
                worker.wake()

    async def _remove_leftovers(self, known: set[str]) -> None:
        """Folders and cgroups of pods that nobody knows (the kubelet was down when they ended)."""
        settings = self._kit.settings
        on_disk = await asyncio.to_thread(self._kit.volumes.uids_on_disk)
        in_cgroups = await asyncio.to_thread(self._kit.cgroups.pod_uids, settings.cgroup_root)
        for uid in on_disk - known - set(self._workers):
            await self._kit.volumes.remove(uid)
        for uid in in_cgroups - known - set(self._workers):
            for tier in ("", "/burstable", "/besteffort"):
                path = f"{settings.cgroup_root}/kubepods{tier}/pod{uid}"
                await asyncio.to_thread(self._kit.cgroups.remove_pod, path)


def _orphan(sandbox: Sandbox, listed: Sequence[Container]) -> Object:
    """A pod object made from what the runtime knows, enough to end it properly."""
    labels = sandbox.labels
    graces = [item.annotations.get(TERMINATION_GRACE_ANNOTATION, "") for item in listed]
    seconds = [int(text) for text in graces if text.isdigit()]
    spec: Object = {"containers": [{"name": item.name, "image": item.image} for item in listed]}
    if seconds:
        spec["terminationGracePeriodSeconds"] = max(seconds)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": labels.get(POD_NAME_LABEL) or sandbox.identity.name,
            "namespace": labels.get(POD_NAMESPACE_LABEL) or sandbox.identity.namespace,
            "uid": labels.get(POD_UID_LABEL) or sandbox.identity.uid,
        },
        "spec": spec,
    }
