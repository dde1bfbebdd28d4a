"""Makes the claims of generic ephemeral volumes (``ephemeral-volume-controller``).

In: Pods. Out: for each of a pod's ``ephemeral`` volumes the claim ``<pod>-<volume>``, owned by the pod, so that it goes
when the pod goes. A claim of that name which is not the pod's is never touched; the pod waits then.
"""

from __future__ import annotations

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.kit import WRITE, Kit, follow
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, is_deleting, key_of, name_of, namespace_of, split_key, thaw
from minikube_py.machinery.owners import is_controlled_by, owner_reference
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PODS

_BY_CLAIM = "ephemeral claim"


def ephemeral_claims(pod: Object) -> list[Object]:
    """Drafts of the claims of a pod."""
    drafts: list[Object] = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template is None:
            continue
        meta = {key: thaw(value) for key, value in (template.get("metadata") or {}).items() if value}
        meta |= {"name": f"{name_of(pod)}-{volume['name']}", "namespace": namespace_of(pod)}
        meta["ownerReferences"] = [owner_reference(pod, "v1", "Pod")]
        drafts.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": thaw(template["spec"])}
        )
    return drafts


class EphemeralVolumeController:
    """The loop; its keys are pods."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._pods = kit.client.informer(PODS)
        self._claims = kit.client.informer(PERSISTENT_VOLUME_CLAIMS)
        self._pods.add_index(_BY_CLAIM, lambda pod: [key_of(draft) for draft in ephemeral_claims(pod)])
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="ephemeral-volume")

    async def run(self) -> None:
        """Run until cancelled."""
        pods, claims = (self._pods, self._on_pod), (self._claims, self._on_claim)
        await follow(self._kit, "ephemeral-volume", self._queue, self.reconcile, pods, claims)

    def _on_pod(self, type: EventType, pod: Object, old: Object | None) -> None:
        if type is EventType.ADDED and ephemeral_claims(pod):
            self._queue.add(key_of(pod))

    def _on_claim(self, type: EventType, claim: Object, old: Object | None) -> None:
        if type is EventType.DELETED:
            for pod in self._pods.by_index(_BY_CLAIM, key_of(claim)):
                self._queue.add(key_of(pod))

    async def reconcile(self, key: str) -> None:
        """Make what is missing of one pod. Raises ApiError."""
        namespace, name = split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None or is_deleting(pod):
            return
        for draft in ephemeral_claims(pod):
            present = self._claims.get(name_of(draft), namespace)
            if present is None:
                await self._create(pod, draft)
            elif not is_controlled_by(present, pod):
                owner = f"PVC {key_of(draft)} was not created for pod {key} (pod is not owner)"
                self._tell(pod, draft, owner)

    async def _create(self, pod: Object, draft: Object) -> None:
        try:
            await self._kit.client.create(PERSISTENT_VOLUME_CLAIMS, draft, namespace_of(pod), options=WRITE)
        except ApiError as error:
            self._tell(pod, draft, f"create PVC {name_of(draft)}: {error.message}")
            raise

    def _tell(self, pod: Object, draft: Object, text: str) -> None:
        volume = name_of(draft).removeprefix(f"{name_of(pod)}-")
        self._kit.recorder.event(pod, "Warning", "FailedBinding", f"ephemeral volume {volume}: {text}")
