"""PersistentVolumeClaim: a request for storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import not_supported_in_order, qualified_name, quantity
from minikube_py.machinery.kinds.common.claim_validation import (
    BETA_CLASS_ANNOTATION,
    BETA_CLASS_TEXT,
    claim_spec_errors,
    claim_spec_warnings,
)
from minikube_py.machinery.kinds.common.go_values import go_diff, go_object
from minikube_py.machinery.kinds.common.pod_defaults import (
    default_claim_spec,
    drop_odd_sources,
    mirror_data_source,
    round_up_milli,
)
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.resource_names import integer_errors, is_native
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, immutable
from minikube_py.machinery.kinds.core.access_modes import access_modes_text, storage_class_of
from minikube_py.machinery.objects import Object, thaw
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


_fresh_status = fresh_status(DEFINITION, phase="Pending")


def prepare_create(claim: Object) -> None:
    """A new claim is Pending; its data sources are put in order."""
    _fresh_status(claim)
    spec = child(claim, "spec")
    drop_odd_sources(spec, None)
    mirror_data_source(spec)


def prepare_update(claim: Object, old: Object) -> None:
    """Data sources are put in order, with respect to those that the claim has."""
    spec = child(claim, "spec")
    drop_odd_sources(spec, old.get("spec"))
    mirror_data_source(spec)


def warnings(claim: Object, old: Object | None) -> list[str]:
    """``GetWarningsForPersistentVolumeClaim``."""
    annotations = (claim.get("metadata") or {}).get("annotations") or {}
    found = []
    if BETA_CLASS_ANNOTATION in annotations:
        found.append(f"metadata.annotations[{BETA_CLASS_ANNOTATION}]: {BETA_CLASS_TEXT}")
    return found + claim_spec_warnings("spec", claim.get("spec") or {})


def validate(claim: Object) -> list[FieldError]:
    return claim_spec_errors("spec", claim.get("spec") or {})


def validate_update(claim: Object, old: Object) -> list[FieldError]:
    """``ValidatePersistentVolumeClaimUpdate``: bound claims may grow, the rest stays."""
    spec, before = claim.get("spec") or {}, old.get("spec") or {}
    errors = claim_spec_errors("spec", spec, before) * 2  # as the strategy does
    changed, kept = thaw(spec), thaw(before)
    if not before.get("volumeName"):
        _set_back(kept, spec, "volumeName")
    errors += _storage_class_errors(claim, old, changed)
    requests = (changed.get("resources") or {}).get("requests")
    if (claim.get("status") or {}).get("phase") == "Bound":
        if requests is not None:
            requests["storage"] = _requested(before)
        _set_back(changed, before, _ATTRIBUTES_CLASS)
    if changed != kept:
        shown = [go_object("PersistentVolumeClaimSpec", value) for value in (kept, changed)]
        errors.append(forbidden_field("spec", _FROZEN + go_diff(*shown)))
    size, capacity = quantity(_requested(spec) or 0), ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if size < quantity(_requested(before) or 0) and size <= quantity(capacity or 0):
        text = "field can not be less than status.capacity"
        errors.append(forbidden_field("spec.resources.requests.storage", text))
    errors += immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
    return errors + _attributes_class_errors(spec, before, old.get("status") or {})


_ATTRIBUTES_CLASS = "volumeAttributesClassName"


def _storage_class_errors(claim: Object, old: Object, changed: Object) -> list[FieldError]:
    """A claim without a class may get one, which an annotation on it binds; ``changed`` loses such a change."""
    noted, was_noted = (
        ((version.get("metadata") or {}).get("annotations") or {}).get(BETA_CLASS_ANNOTATION)
        for version in (claim, old)
    )
    new, before = ((version.get("spec") or {}).get("storageClassName") for version in (claim, old))
    settable = before is None and new is not None and was_noted in (None, new)
    if settable:
        changed.pop("storageClassName", None)
    if settable and was_noted is not None and noted in (None, was_noted):
        return []
    return immutable(f"metadata.annotations.{BETA_CLASS_ANNOTATION}", noted or "", was_noted or "")


def _attributes_class_errors(
    spec: Mapping[str, Any], before: Mapping[str, Any], status: Mapping[str, Any]
) -> list[FieldError]:
    """A class of attributes that the volume has cannot be taken away, only exchanged."""
    new = spec.get(_ATTRIBUTES_CLASS)
    if new or new == before.get(_ATTRIBUTES_CLASS) or status.get("currentVolumeAttributesClassName") is None:
        return []
    what = "nil" if new is None else "empty string"
    text = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
    return [forbidden_field(f"spec.{_ATTRIBUTES_CLASS}", text)]


_RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending", "NodeResizeInProgress",
    "NodeResizeInfeasible",
)  # fmt: skip


def validate_status(claim: Object, old: Object) -> list[FieldError]:
    """``ValidatePersistentVolumeClaimStatusUpdate``: amounts are none below zero, states of resizing are known."""
    status = claim.get("status") or {}
    errors: list[FieldError] = []
    for name_, amount in (status.get("capacity") or {}).items():
        errors += _amount_errors(f"status.capacity[{name_}]", amount)
    for name_, state in (status.get("allocatedResourceStatuses") or {}).items():
        errors += _resource_key_errors("status.allocatedResourceStatus", name_)
        if state not in _RESIZE_STATES:
            errors.append(not_supported("status.allocatedResourceStatus", name_, sorted(_RESIZE_STATES)))
    for name_, amount in (status.get("allocatedResources") or {}).items():
        wrong = _resource_key_errors("status.allocatedResources", name_)
        where = f"status.allocatedResources[{name_}]"
        errors += wrong or _amount_errors(where, amount) or integer_errors(where, "storage", amount)
    return errors


def _amount_errors(path: str, amount: Any) -> list[FieldError]:
    whole = quantity(amount).value()
    return [invalid_value(path, whole, "must be a valid resource quantity")] if whole < 0 else []


def _resource_key_errors(path: str, name_: str) -> list[FieldError]:
    errors = qualified_name(path, name_)
    if not errors and is_native(name_) and name_ != "storage":
        errors.append(not_supported_in_order(path, name_, ("storage",)))
    return errors


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
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
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
