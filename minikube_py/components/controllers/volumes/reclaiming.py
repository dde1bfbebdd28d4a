"""What becomes of a volume whose claim is gone (``reclaimVolume`` of ``pv_controller.go``).

A provisioned volume is deleted by its provisioner, which waits for the phase Released. Volumes that somebody made by
hand can be deleted or recycled by plugins inside kube-controller-manager only; none of those is here, so such a volume
fails with the event that Kubernetes writes when it finds no plugin, and its data stays.
"""

from __future__ import annotations

from minikube_py.components.controllers.kit import Kit
from minikube_py.components.controllers.volumes.writing import set_volume_phase
from minikube_py.machinery import volume_binding as binding
from minikube_py.machinery.objects import Object, annotations_of, name_of


async def reclaim(kit: Kit, volume: Object) -> None:
    """Release a volume, then do what its reclaim policy says."""
    if binding.phase_of(volume) not in ("Released", "Failed"):
        volume = await set_volume_phase(kit, volume, "Released")
    policy = binding.spec_of(volume).get("persistentVolumeReclaimPolicy")
    if policy == "Recycle":
        await _fail(kit, volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    elif policy == "Delete" and not _deleted_by_others(volume):
        text = f'error getting deleter volume plugin for volume "{name_of(volume)}": no volume plugin matched'
        await _fail(kit, volume, "VolumeFailedDelete", text)


def _deleted_by_others(volume: Object) -> bool:
    provisioner = annotations_of(volume).get(binding.PROVISIONED_BY, "")
    return bool(provisioner) and not provisioner.startswith("kubernetes.io/")


async def _fail(kit: Kit, volume: Object, reason: str, text: str) -> None:
    if binding.phase_of(volume) != "Failed":
        await set_volume_phase(kit, volume, "Failed", text)
        kit.recorder.event(volume, "Warning", reason, text)
