"""PersistentVolumeClaim: a request for storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.claim_validation import claim_spec_errors
from minikube_py.machinery.kinds.common.go_values import go_diff, go_object
from minikube_py.machinery.kinds.common.pod_defaults import default_claim_spec, round_up_milli
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, immutable
from minikube_py.machinery.kinds.core.access_modes import access_modes_text, storage_class_of
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.quantities import parse_quantity
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS

DEFINITION = "io.k8s.api.core.v1.PersistentVolumeClaim"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"
_FROZEN = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"


def fill(claim: Object) -> None:
    """A file system, Pending."""
    default_claim_spec(child(claim, "spec"))
    status = child(claim, "status")
    set_default(status, phase="Pending")
    for field in ("capacity", "allocatedResources"):
        if status.get(field):
            round_up_milli(status[field])


def validate(claim: Object) -> list[FieldError]:
    return claim_spec_errors("spec", claim.get("spec") or {})


def validate_update(claim: Object, old: Object) -> list[FieldError]:
    """``ValidatePersistentVolumeClaimUpdate``: bound claims may grow, the rest stays."""
    errors = validate(claim)
    spec, before = claim.get("spec") or {}, old.get("spec") or {}
    changed, kept = thaw(spec), thaw(before)
    if not before.get("volumeName"):
        _set_back(kept, spec, "volumeName")
    bound = (old.get("status") or {}).get("phase") == "Bound"
    new_size, old_size = _requested(spec), _requested(before)
    if bound and new_size is not None:
        child(child(changed, "resources"), "requests")["storage"] = old_size
    if bound:
        _set_back(changed, before, "volumeAttributesClassName")
    if not before.get("storageClassName"):
        _set_back(changed, before, "storageClassName")
    if changed != kept:
        shown = [go_object("PersistentVolumeClaimSpec", value) for value in (kept, changed)]
        errors.append(forbidden_field("spec", _FROZEN + go_diff(*shown)))
    if bound and new_size and old_size:
        floor = (old.get("status") or {}).get("capacity", {}).get("storage") or old_size
        grown = parse_quantity(new_size)
        if grown < parse_quantity(old_size) and grown < parse_quantity(floor):
            text = "field can not be less than status.capacity"
            errors.append(forbidden_field("spec.resources.requests.storage", text))
    return errors + immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))


def _requested(spec: Mapping[str, Any]) -> Any:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


def _set_back(draft: Object, before: Mapping[str, Any], field: str) -> None:
    draft.pop(field, None)
    if field in before:
        draft[field] = before[field]


def row(claim: Mapping[str, Any], now: float) -> Sequence[Cell]:
    """``printPersistentVolumeClaim``: capacity and modes of the volume once there is one."""
    spec, status = part(claim, "spec"), part(claim, "status")
    phase = "Terminating" if part(claim, "metadata").get("deletionTimestamp") else status.get("phase") or ""
    capacity, modes = "", ""
    if spec.get("volumeName"):
        modes = access_modes_text(status.get("accessModes") or ())
        capacity = str((status.get("capacity") or {}).get("storage", "0"))
    return (
        name(claim),
        phase,
        spec.get("volumeName") or "",
        capacity,
        modes,
        storage_class_of(claim),
        spec.get("volumeAttributesClassName") or "<unset>",
        age(claim, now),
        spec.get("volumeMode") or "<unset>",
    )


KIND = Kind(
    resource=PERSISTENT_VOLUME_CLAIMS,
    singular="persistentvolumeclaim",
    definition=DEFINITION,
    short_names=("pvc",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION, phase="Pending"),
    validate=validate,
    validate_update=validate_update,
    has_status=True,
    columns=(
        NAME,
        column("Status", f"{_STATUS}.phase"),
        column("Volume", f"{_SPEC}.volumeName"),
        column("Capacity", f"{_STATUS}.capacity"),
        column("Access Modes", f"{_STATUS}.accessModes"),
        column("StorageClass", text="StorageClass of the pvc"),
        column("VolumeAttributesClass", text="VolumeAttributesClass of the pvc"),
        AGE,
        column("VolumeMode", f"{_SPEC}.volumeMode", wide=True),
    ),
    row=row,
)
