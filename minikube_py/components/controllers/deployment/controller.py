"""The loop of Deployments: claim ReplicaSets, find or make the newest, take one step, write status.

Watches: Deployments, ReplicaSets, pods (only for Recreate). Writes: ReplicaSets, the Deployment's
status and its revision annotation. Holds: a step never breaks maxSurge and maxUnavailable as far
as the ReplicaSets' status tells; a paused Deployment is only resized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.claims import claim
from minikube_py.components.controllers.deployment import progress, scaling
from minikube_py.components.controllers.deployment.model import (
    REVISION,
    TEMPLATE_HASH,
    Rollout,
    annotated,
    as_decided,
    is_rolling,
    replica_annotations,
    replicas_of,
    revision_of,
    same_template,
    split_sets,
    status_number,
    with_hash,
    with_revision,
)
from minikube_py.components.controllers.kit import WRITE, Kit, follow, write_status
from minikube_py.components.controllers.pods import (
    index_by_controller,
    is_finished,
    namespace_is_terminating,
    orphans,
    owned,
)
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.hashes import pod_template_hash
from minikube_py.machinery.objects import (
    Object,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    split_key,
    thaw,
    uid_of,
)
from minikube_py.machinery.owners import controller_of, is_controlled_by, owner_reference
from minikube_py.machinery.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from minikube_py.machinery.selectors import selector_from_label_selector


class DeploymentController:
    """The loop."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._deployments = kit.client.informer(DEPLOYMENTS)
        self._sets = kit.client.informer(REPLICA_SETS)
        self._pods = kit.client.informer(PODS)
        index_by_controller(self._sets)
        index_by_controller(self._pods)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="deployment")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "deployment",
            self._queue,
            self.reconcile,
            (self._deployments, self._on_deployment),
            (self._sets, self._on_set),
            (self._pods, self._on_pod),
        )

    def _on_deployment(self, type: EventType, deployment: Object, old: Object | None) -> None:
        self._queue.add(key_of(deployment))

    def _on_set(self, type: EventType, replica_set: Object, old: Object | None) -> None:
        for each in (replica_set, old):
            owner = self._owner_of(each) if each is not None else None
            if owner is not None:
                self._queue.add(key_of(owner))
        if controller_of(replica_set) is None and type is not EventType.DELETED:
            for deployment in self._deployments.list(namespace_of(replica_set)):
                selector = selector_from_label_selector(deployment["spec"].get("selector"))
                if not selector.empty and selector.matches(labels_of(replica_set)):
                    self._queue.add(key_of(deployment))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        """Recreate waits for the last old pod to go."""
        if type is not EventType.DELETED:
            return
        reference = controller_of(pod)
        if reference is None or reference.get("kind") != "ReplicaSet":
            return
        replica_set = self._sets.get(str(reference.get("name")), namespace_of(pod))
        owner = self._owner_of(replica_set) if replica_set is not None else None
        if owner is not None and not is_rolling(owner):
            self._queue.add(key_of(owner))

    def _owner_of(self, replica_set: Object) -> Object | None:
        reference = controller_of(replica_set)
        if reference is None or reference.get("kind") != "Deployment":
            return None
        owner = self._deployments.get(str(reference.get("name")), namespace_of(replica_set))
        return owner if owner is not None and uid_of(owner) == reference.get("uid") else None

    async def reconcile(self, key: str) -> float | None:
        """Take one step; seconds until the progress deadline must be judged."""
        namespace, name = split_key(key)
        deployment = self._deployments.get(name, namespace)
        if deployment is None:
            return None
        selector = (deployment.get("spec") or {}).get("selector")
        if not selector:
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self._kit.recorder.event(deployment, "Warning", "SelectingAll", message)
            return None
        rollout = split_sets(deployment, await self._claim(deployment))
        if is_deleting(deployment):
            return await self._write(rollout, progress.numbers(rollout, self._kit.clock.now()))
        if await self._note_pause(deployment):
            return None  # the written status is an event that brings the key back
        if deployment["spec"].get("paused") or scaling.is_scaling(rollout):
            return await self._resize(rollout)
        return await (self._roll(rollout) if is_rolling(deployment) else self._recreate(rollout))

    async def _claim(self, deployment: Object) -> list[Object]:
        selector = selector_from_label_selector(deployment["spec"]["selector"])
        return await claim(
            self._kit,
            owner=deployment,
            owner_resource=DEPLOYMENTS,
            child_resource=REPLICA_SETS,
            candidates=[*owned(self._sets, deployment), *orphans(self._sets, namespace_of(deployment))],
            matches=lambda each: selector.matches(labels_of(each)),
        )

    async def _note_pause(self, deployment: Object) -> bool:
        condition = progress.pause_condition(deployment, self._kit.clock.now())
        if condition is None:
            return False
        status = thaw(deployment.get("status") or {})
        progress.put_condition(status.setdefault("conditions", []), condition)
        return await write_status(self._kit, DEPLOYMENTS, deployment, status)

    async def _resize(self, rollout: Rollout) -> float | None:
        rollout = await self._prepare(rollout, create=False)
        deployment = rollout.deployment
        for replica_set, size in scaling.resize(rollout, rolling=is_rolling(deployment)):
            await self._scale(deployment, replica_set, size)
        if deployment["spec"].get("paused"):
            await self._forget_history(rollout)
        return await self._write(rollout, progress.numbers(self._fresh(rollout), self._kit.clock.now()))

    async def _roll(self, rollout: Rollout) -> float | None:
        rollout = await self._prepare(rollout, create=True)
        steps = scaling.grow_new(rollout, rolling=True) or scaling.shrink_old(rollout)
        return await self._step(rollout, steps)

    async def _recreate(self, rollout: Rollout) -> float | None:
        rollout = await self._prepare(rollout, create=False)
        steps = scaling.drop_old(rollout)
        if not steps and not self._old_pods_run(rollout):
            rollout = await self._prepare(rollout, create=True)
            steps = scaling.grow_new(rollout, rolling=False)
        return await self._step(rollout, steps)

    async def _step(self, rollout: Rollout, steps: Sequence[scaling.Scale]) -> float | None:
        for replica_set, size in steps:
            await self._scale(rollout.deployment, replica_set, size)
        if not steps and progress.is_complete(rollout.deployment, rollout.deployment.get("status") or {}):
            await self._forget_history(rollout)
        rollout = self._fresh(rollout)
        return await self._write(rollout, progress.judged(rollout, self._kit.clock.now()))

    def _fresh(self, rollout: Rollout) -> Rollout:
        """The same rollout as the informers show it after our own writes."""
        deployment = self._deployments.get(name_of(rollout.deployment), namespace_of(rollout.deployment))
        if deployment is None or uid_of(deployment) != uid_of(rollout.deployment):
            return rollout

        def seen(replica_set: Object) -> Object:
            return self._sets.get(name_of(replica_set), namespace_of(replica_set)) or replica_set

        new = seen(rollout.new) if rollout.new is not None else None
        return replace(
            rollout,
            deployment=as_decided(deployment, rollout.deployment),
            new=new,
            old=[seen(each) for each in rollout.old],
        )

    async def _write(self, rollout: Rollout, status: Object) -> float | None:
        """Status and revision annotation go in one write, as in Kubernetes: it does not count as a change of spec."""
        deployment = rollout.deployment
        live = self._deployments.get(name_of(deployment), namespace_of(deployment))
        if live is None:
            return None
        same_revision = annotations_of(live).get(REVISION) == annotations_of(deployment).get(REVISION)
        if not same_revision or (deployment.get("status") or {}) != status:
            draft = {**deployment, "status": status}
            await self._kit.client.update(DEPLOYMENTS, draft, subresource="status", options=WRITE)
        return progress.until_deadline(rollout.deployment, status, self._kit.clock.now())

    async def _prepare(self, rollout: Rollout, *, create: bool) -> Rollout:
        """Find (or make) the new ReplicaSet and bring its revision and annotations up to date."""
        deployment = rollout.deployment
        revision = max((revision_of(each) for each in rollout.old), default=0) + 1
        new = rollout.new
        if new is not None:
            new = await self._refresh(deployment, new, revision)
        elif create:
            new = await self._create(rollout, revision)
        if new is not None:
            deployment = with_revision(deployment, annotations_of(new).get(REVISION, ""))
        created = rollout.created or (rollout.new is None and new is not None)
        return Rollout(deployment, new, rollout.old, created)

    async def _refresh(self, deployment: Object, new: Object, revision: int) -> Object:
        annotations = annotated(deployment, new, revision)
        ready_seconds = int(deployment["spec"].get("minReadySeconds") or 0)
        if annotations == annotations_of(new) and ready_seconds == int(new["spec"].get("minReadySeconds") or 0):
            return new
        draft = thaw(new)
        draft["metadata"]["annotations"] = annotations
        draft["spec"]["minReadySeconds"] = ready_seconds
        return await self._kit.client.update(REPLICA_SETS, draft, options=WRITE)

    async def _create(self, rollout: Rollout, revision: int) -> Object | None:
        deployment = rollout.deployment
        draft = _replica_set(rollout, revision)
        try:
            made = await self._kit.client.create(REPLICA_SETS, draft, namespace_of(deployment), options=WRITE)
        except ApiError as error:
            if is_already_exists(error):
                return await self._existing(deployment, draft)
            if namespace_is_terminating(error):
                return None
            await self._note_failure(deployment, draft, error)
            raise
        size = replicas_of(made)
        if size:
            message = f"Scaled up replica set {name_of(made)} from 0 to {size}"
            self._kit.recorder.event(deployment, "Normal", "ScalingReplicaSet", message)
        return made

    async def _existing(self, deployment: Object, draft: Object) -> Object:
        """A set of this name is ours (the view lagged), or its hash collides: try another hash next time."""
        name = name_of(draft)
        found = await self._kit.client.get(REPLICA_SETS, name, namespace_of(deployment))
        template = deployment["spec"].get("template") or {}
        if is_controlled_by(found, deployment) and same_template(found["spec"].get("template") or {}, template):
            return found
        status = thaw(deployment.get("status") or {})
        status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
        await write_status(self._kit, DEPLOYMENTS, deployment, status)
        raise ApiError(409, "AlreadyExists", f'replicasets.apps "{name}" already exists')

    async def _note_failure(self, deployment: Object, draft: Object, error: ApiError) -> None:
        message = f'Failed to create new replica set "{name_of(draft)}": {error.message}'
        self._kit.recorder.event(deployment, "Warning", "ReplicaSetCreateError", message)
        if progress.deadline_seconds(deployment) is None:
            return
        status = thaw(deployment.get("status") or {})
        now = self._kit.clock.now()
        condition = progress.make_condition(progress.PROGRESSING, "False", "ReplicaSetCreateError", message, now)
        progress.put_condition(status.setdefault("conditions", []), condition)
        await write_status(self._kit, DEPLOYMENTS, deployment, status)

    async def _scale(self, deployment: Object, replica_set: Object, size: int) -> None:
        before = replicas_of(replica_set)
        annotations = {**annotations_of(replica_set), **replica_annotations(deployment)}
        if size == before and annotations == annotations_of(replica_set):
            return
        draft = thaw(replica_set)
        draft["spec"]["replicas"] = size
        draft["metadata"]["annotations"] = annotations
        await self._kit.client.update(REPLICA_SETS, draft, options=WRITE)
        if size != before:
            way = "up" if size > before else "down"
            message = f"Scaled {way} replica set {name_of(replica_set)} from {before} to {size}"
            self._kit.recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    def _old_pods_run(self, rollout: Rollout) -> bool:
        if any(status_number(each, "replicas") for each in rollout.old):
            return True
        return any(not is_finished(pod) for each in rollout.old for pod in owned(self._pods, each))

    async def _forget_history(self, rollout: Rollout) -> None:
        """Delete empty old ReplicaSets beyond ``revisionHistoryLimit``, oldest revision first."""
        limit = rollout.deployment["spec"].get("revisionHistoryLimit", 10)
        alive = sorted((each for each in rollout.old if not is_deleting(each)), key=revision_of)
        for each in alive[: max(0, len(alive) - int(limit))] if limit is not None else ():
            behind = int(metadata(each).get("generation") or 0) > status_number(each, "observedGeneration")
            if status_number(each, "replicas") or replicas_of(each) or behind:
                continue
            try:
                await self._kit.client.delete(REPLICA_SETS, name_of(each), namespace_of(each))
            except ApiError as error:
                if not is_not_found(error):
                    raise


def _replica_set(rollout: Rollout, revision: int) -> Object:
    """The draft of the new ReplicaSet."""
    deployment, spec = rollout.deployment, rollout.deployment["spec"]
    collisions = (deployment.get("status") or {}).get("collisionCount")
    value = pod_template_hash(spec.get("template") or {}, collisions)
    template = with_hash(spec.get("template") or {}, value)
    selector = thaw(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), TEMPLATE_HASH: value}
    draft_spec: Object = {
        "replicas": scaling.new_set_size(rollout, 0, rolling=is_rolling(deployment)),
        "selector": selector,
        "template": template,
    }
    if spec.get("minReadySeconds"):
        draft_spec["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{value}",
            "namespace": namespace_of(deployment),
            "labels": dict(labels_of(template)),
            "annotations": annotated(deployment, None, revision),
            "ownerReferences": [owner_reference(deployment, DEPLOYMENTS.api_version, DEPLOYMENTS.kind)],
        },
        "spec": draft_spec,
    }
