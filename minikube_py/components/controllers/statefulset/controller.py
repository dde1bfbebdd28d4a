"""The loop of StatefulSets.

Watches: StatefulSets, pods, claims, ControllerRevisions. Writes: pods, claims, revisions, status.
Holds: at most one pod for each ordinal; a claim exists before its pod; storage is kept unless the
retention policy says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.batches import all_at_once
from minikube_py.components.controllers.claims import claim
from minikube_py.components.controllers.kit import WRITE, Kit, follow, write_status
from minikube_py.components.controllers.pods import delete_pod, index_by_controller, orphans, owned, until_available
from minikube_py.components.controllers.revisions import (
    apply_revision,
    claim_revisions,
    present_revision,
    trim_revisions,
)
from minikube_py.components.controllers.statefulset.identity import (
    claim_name,
    claims_of,
    ordinal_of,
    pod_draft,
    replicas_of,
    retained_owners,
    revision_of,
)
from minikube_py.components.controllers.statefulset.planning import Plan, Revisions, plan, status_of
from minikube_py.machinery.errors import ApiError, is_already_exists
from minikube_py.machinery.objects import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    resource_version_of,
    split_key,
    uid_of,
)
from minikube_py.machinery.owners import controller_of, owner_references
from minikube_py.machinery.resources import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from minikube_py.machinery.selectors import selector_from_label_selector


class StatefulSetController:
    """The loop."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._sets = kit.client.informer(STATEFUL_SETS)
        self._pods = kit.client.informer(PODS)
        self._claims = kit.client.informer(PERSISTENT_VOLUME_CLAIMS)
        self._revisions = kit.client.informer(CONTROLLER_REVISIONS)
        index_by_controller(self._pods)
        index_by_controller(self._revisions)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="statefulset")

    async def run(self) -> None:
        """Run until cancelled."""
        await follow(
            self._kit,
            "statefulset",
            self._queue,
            self.reconcile,
            (self._sets, self._on_set),
            (self._pods, self._on_pod),
        )

    def _on_set(self, type: EventType, owner: Object, old: Object | None) -> None:
        self._queue.add(key_of(owner))

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        reference = controller_of(pod)
        if reference is not None and reference.get("kind") == "StatefulSet":
            self._queue.add(f"{namespace_of(pod)}/{reference.get('name')}")
        elif reference is None and type is not EventType.DELETED and (old is None or labels_of(old) != labels_of(pod)):
            for owner in self._sets.list(namespace_of(pod)):
                if selector_from_label_selector(owner["spec"].get("selector")).matches(labels_of(pod)):
                    self._queue.add(key_of(owner))

    async def reconcile(self, key: str) -> float | None:
        """Take the next step of one StatefulSet; seconds until a pod becomes available."""
        namespace, name = split_key(key)
        owner = self._sets.get(name, namespace)
        if owner is None or not owner["spec"].get("selector"):
            return None
        kit, now = self._kit, self._kit.clock.now()
        pods = await self._claim(owner)
        history = await claim_revisions(kit, self._revisions, owner, STATEFUL_SETS)
        before = owner.get("status") or {}
        update, collisions = await present_revision(kit, owner, STATEFUL_SETS, history, before.get("collisionCount"))
        current = next((each for each in history if name_of(each) == before.get("currentRevision")), update)
        roles = Revisions(name_of(current), name_of(update))
        failure: Exception | None = None
        if not is_deleting(owner):
            step = plan(owner, pods, roles, now)
            failure = await self._apply(owner, step, {name_of(current): current, name_of(update): update})
            await self._retain(owner)
            pods = list(owned(self._pods, owner))
        owner = self._sets.get(name, namespace) or owner
        status = status_of(owner, pods, roles, roles, now)
        if collisions or before.get("collisionCount") is not None:
            status["collisionCount"] = collisions
        await write_status(kit, STATEFUL_SETS, owner, status)
        in_use = {name_of(current), name_of(update), *map(revision_of, pods)}
        await trim_revisions(kit, owner, history, in_use)
        if failure is not None:
            raise failure
        return until_available(pods, int(owner["spec"].get("minReadySeconds") or 0), now)

    async def _claim(self, owner: Object) -> list[Object]:
        selector = selector_from_label_selector(owner["spec"]["selector"])
        return await claim(
            self._kit,
            owner=owner,
            owner_resource=STATEFUL_SETS,
            child_resource=PODS,
            candidates=[*owned(self._pods, owner), *orphans(self._pods, namespace_of(owner))],
            matches=lambda pod: selector.matches(labels_of(pod)) and ordinal_of(owner, pod) is not None,
        )

    async def _apply(self, owner: Object, step: Plan, revisions: dict[str, Object]) -> Exception | None:
        async def create(entry: tuple[int, str]) -> None:
            ordinal, revision = entry
            await self._create(owner, ordinal, apply_revision(owner, revisions[revision]), revision)

        failure = await all_at_once(step.create, create)
        return failure or await all_at_once(step.delete, lambda pod: self._delete(owner, pod))

    async def _create(self, owner: Object, ordinal: int, template: Object, revision: str) -> None:
        namespace, recorder = namespace_of(owner), self._kit.recorder
        draft = pod_draft(owner, template, ordinal, revision)
        what = f"create Pod {name_of(draft)} in StatefulSet {name_of(owner)}"
        try:
            for wanted in claims_of(owner, ordinal):
                await self._create_claim(owner, name_of(draft), wanted)
            await self._kit.client.create(PODS, draft, namespace, options=WRITE)
        except ApiError as error:
            if is_already_exists(error):
                raise  # somebody else's pod has our name: wait for it to go
            recorder.event(owner, "Warning", "FailedCreate", f"{what} failed error: {error.message}")
            raise
        recorder.event(owner, "Normal", "SuccessfulCreate", f"{what} successful")

    async def _create_claim(self, owner: Object, pod: str, wanted: Object) -> None:
        name, recorder = name_of(wanted), self._kit.recorder
        present = self._claims.get(name, namespace_of(owner))
        if present is not None:
            if is_deleting(present):
                raise ApiError(409, "Conflict", f"pvc {name} is being deleted")
            return
        what = f"create Claim {name} Pod {pod} in StatefulSet {name_of(owner)}"
        try:
            await self._kit.client.create(PERSISTENT_VOLUME_CLAIMS, wanted, namespace_of(owner), options=WRITE)
        except ApiError as error:
            if is_already_exists(error):
                return
            recorder.event(owner, "Warning", "FailedCreate", f"{what} failed error: {error.message}")
            raise
        recorder.event(owner, "Normal", "SuccessfulCreate", f"{what} success")

    async def _delete(self, owner: Object, pod: Object) -> None:
        await self._retain_pod(owner, pod)
        await delete_pod(self._kit, owner, pod)

    async def _retain(self, owner: Object) -> None:
        if owner["spec"].get("volumeClaimTemplates"):
            failure = await all_at_once(owned(self._pods, owner), lambda pod: self._retain_pod(owner, pod))
            if failure is not None:
                raise failure

    async def _retain_pod(self, owner: Object, pod: Object) -> None:
        """Let the pod's claims be owned as the retention policy wants."""
        ordinal = ordinal_of(owner, pod)
        templates: Sequence[Object] = owner["spec"].get("volumeClaimTemplates") or ()
        if ordinal is None:
            return
        start = int((owner["spec"].get("ordinals") or {}).get("start") or 0)
        condemned = not start <= ordinal < start + replicas_of(owner)
        for template in templates:
            present = self._claims.get(claim_name(owner, template, ordinal), namespace_of(owner))
            if present is None or is_deleting(present):
                continue
            wanted = retained_owners(owner, present, pod, condemned=condemned)
            if wanted == list(owner_references(present)):
                continue
            guard = {"uid": uid_of(present), "resourceVersion": resource_version_of(present)}
            patch: Object = {"metadata": {**guard, "ownerReferences": wanted or None}}
            await self._kit.client.patch(
                PERSISTENT_VOLUME_CLAIMS, name_of(present), patch, namespace_of(owner), options=WRITE
            )
