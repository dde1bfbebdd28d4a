"""What the binder writes: both halves of a binding, and the phases of volumes and claims.

Every write is guarded by the resourceVersion of the object it starts from (Conflict), writes nothing when nothing
would change, and returns the object as it is then. Source: ``pv_controller.go``.
"""

from __future__ import annotations

from minikube_py.components.controllers.kit import WRITE, Kit
from minikube_py.machinery import volume_binding as binding
from minikube_py.machinery.objects import Object, annotations_of, name_of, namespace_of
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES


async def bind(kit: Kit, volume: Object, claim: Object) -> None:
    """Bind the two, the volume first; where a part is done already it is left alone."""
    volume = await bind_volume(kit, volume, claim)
    volume = await set_volume_phase(kit, volume, "Bound")
    claim = await _bind_claim(kit, claim, volume)
    await set_claim_phase(kit, claim, "Bound", volume)


async def bind_volume(kit: Kit, volume: Object, claim: Object) -> Object:
    draft = binding.bound_to_claim(volume, claim)
    return volume if draft is None else await kit.client.update(PERSISTENT_VOLUMES, draft, options=WRITE)


async def _bind_claim(kit: Kit, claim: Object, volume: Object) -> Object:
    spec, annotations = binding.spec_of(claim), annotations_of(claim)
    wanted = {**annotations, binding.BIND_COMPLETED: annotations.get(binding.BIND_COMPLETED, "yes")}
    if spec.get("volumeName") != name_of(volume):
        wanted.setdefault(binding.BOUND_BY_CONTROLLER, "yes")
    elif wanted == annotations:
        return claim
    draft = {
        **claim,
        "metadata": {**claim["metadata"], "annotations": wanted},
        "spec": {**spec, "volumeName": name_of(volume)},
    }
    return await kit.client.update(PERSISTENT_VOLUME_CLAIMS, draft, namespace_of(claim), options=WRITE)


async def unbind_volume(kit: Kit, volume: Object) -> None:
    """Roll a binding back: what the controller chose is forgotten, what a user reserved stays reserved."""
    spec, meta = dict(volume["spec"]), dict(volume["metadata"])
    annotations = dict(annotations_of(volume))
    if annotations.pop(binding.BOUND_BY_CONTROLLER, None) is not None:
        del spec["claimRef"]
        meta["annotations"] = annotations
    else:
        spec["claimRef"] = {key: value for key, value in spec["claimRef"].items() if key != "uid"}
    draft = {**volume, "metadata": meta, "spec": spec}
    written = await kit.client.update(PERSISTENT_VOLUMES, draft, options=WRITE)
    await set_volume_phase(kit, written, "Available")


async def set_volume_phase(kit: Kit, volume: Object, phase: str, message: str = "") -> Object:
    if binding.phase_of(volume) == phase:
        return volume
    status = {key: value for key, value in (volume.get("status") or {}).items() if key != "message"} | {"phase": phase}
    if message:
        status["message"] = message
    return await kit.client.update(
        PERSISTENT_VOLUMES, {**volume, "status": status}, subresource="status", options=WRITE
    )


async def set_claim_phase(kit: Kit, claim: Object, phase: str, volume: Object | None = None) -> Object:
    """The phase, and what the claim got: access modes and, once, the capacity, which a resize changes later."""
    live: Object = claim.get("status") or {}
    status = {key: value for key, value in live.items() if key not in ("accessModes", "capacity")} | {"phase": phase}
    if volume is not None:
        spec = binding.spec_of(volume)
        keeps_capacity = live.get("phase") == "Bound" and live.get("capacity")
        status["accessModes"] = spec.get("accessModes")
        status["capacity"] = live["capacity"] if keeps_capacity else spec.get("capacity")
        if spec.get("volumeAttributesClassName"):
            status["currentVolumeAttributesClassName"] = spec["volumeAttributesClassName"]
    if status == live:
        return claim
    draft = {**claim, "status": status}
    return await kit.client.update(
        PERSISTENT_VOLUME_CLAIMS, draft, namespace_of(claim), subresource="status", options=WRITE
    )


async def name_provisioner(kit: Kit, claim: Object, provisioner: str) -> Object:
    """Tell external provisioners whose turn it is (``setClaimProvisioner``)."""
    wanted = {binding.BETA_STORAGE_PROVISIONER: provisioner, binding.STORAGE_PROVISIONER: provisioner}
    annotations = annotations_of(claim)
    if all(annotations.get(key) == value for key, value in wanted.items()):
        return claim
    draft = {**claim, "metadata": {**claim["metadata"], "annotations": {**annotations, **wanted}}}
    return await kit.client.update(PERSISTENT_VOLUME_CLAIMS, draft, namespace_of(claim), options=WRITE)


async def give_class(kit: Kit, claim: Object, storage_class: Object) -> Object:
    """A claim that named no class gets the default one (``assignDefaultStorageClass``)."""
    draft = {**claim, "spec": {**claim["spec"], "storageClassName": name_of(storage_class)}}
    return await kit.client.update(PERSISTENT_VOLUME_CLAIMS, draft, namespace_of(claim), options=WRITE)
