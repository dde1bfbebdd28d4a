"""PersistentVolume: a piece of storage in the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import Errors, one_of, positive_quantity, subdomain
from minikube_py.machinery.kinds.common.claim_validation import access_mode_errors
from minikube_py.machinery.kinds.common.pod_defaults import default_volume_source
from minikube_py.machinery.kinds.common.podspec.paths import no_backsteps_errors
from minikube_py.machinery.kinds.common.podspec.scheduling import node_selector_errors
from minikube_py.machinery.kinds.common.podspec.volumes import (
    SHARED_SOURCES,
    Check,
    driver_name_errors,
    host_path,
    source_errors,
)
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, immutable
from minikube_py.machinery.kinds.core.access_modes import access_modes_text, storage_class_of
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import PERSISTENT_VOLUMES

DEFINITION = "io.k8s.api.core.v1.PersistentVolume"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"


def fill(volume: Object) -> None:
    """Retained, and a file system, unless it says otherwise."""
    spec = child(volume, "spec")
    set_default(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    set_default(child(volume, "status"), phase="Pending")
    default_volume_source(spec)


def prepare_create(volume: Object) -> None:
    """A new volume is Pending; the time of the change of phase is the creation time."""
    created = (volume.get("metadata") or {}).get("creationTimestamp")
    volume["status"] = {"phase": "Pending"}
    if created:
        volume["status"]["lastPhaseTransitionTime"] = created


def validate(volume: Object) -> list[FieldError]:
    """``ValidatePersistentVolume``."""
    spec = volume.get("spec") or {}
    modes: Sequence[str] = spec.get("accessModes") or ()
    errors = access_mode_errors("spec.accessModes", modes, "")
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(required("spec.capacity"))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(not_supported("spec.capacity", dict(sorted(capacity.items())), ["storage"]))
    for resource, amount in sorted(capacity.items()):
        errors += positive_quantity(f"spec.capacity[{resource}]", amount)
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        errors += one_of("spec.persistentVolumeReclaimPolicy", policy, ("Delete", "Recycle", "Retain"))
    affinity = (spec.get("nodeAffinity") or {}).get("required")
    if spec.get("nodeAffinity") is not None:
        if affinity is None:
            errors.append(required("spec.nodeAffinity.required", "must specify required node constraints"))
        else:
            errors += node_selector_errors("spec.nodeAffinity.required", affinity)
    errors += source_errors("spec", spec, _SOURCES)
    if spec.get("local") is not None and spec.get("nodeAffinity") is None:
        errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    if (spec.get("hostPath") or {}).get("path") == "/" and policy == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden_field("spec.persistentVolumeReclaimPolicy", text))
    for field in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(field):
            errors += subdomain(f"spec.{field}", spec[field])
    if spec.get("volumeMode") is not None:
        errors += one_of("spec.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    return errors


def _local(path: str, source: Mapping[str, Any]) -> Errors:
    target = source.get("path") or ""
    return no_backsteps_errors(f"{path}.path", target) if target else [required(f"{path}.path")]


def _csi(path: str, source: Mapping[str, Any]) -> Errors:
    errors = driver_name_errors(f"{path}.driver", source.get("driver") or "")
    if not source.get("volumeHandle"):
        errors.append(required(f"{path}.volumeHandle"))
    for field in ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef",
                  "nodeExpandSecretRef"):  # fmt: skip
        reference = source.get(field)
        if reference is not None:
            errors += [required(f"{path}.{field}.{key}") for key in ("name", "namespace") if not reference.get(key)]
    return errors


_SOURCES: dict[str, Check] = {"hostPath": host_path, **SHARED_SOURCES, "local": _local, "csi": _csi}
_SOURCE_NAMES = tuple(_SOURCES)


def validate_update(volume: Object, old: Object) -> list[FieldError]:
    """``ValidatePersistentVolumeUpdate``: source and mode stay, an affinity is set once."""
    errors = validate(volume)
    spec, before = volume.get("spec") or {}, old.get("spec") or {}
    if any(_source(spec, field) != _source(before, field) for field in _SOURCE_NAMES):
        text = "spec.persistentvolumesource is immutable after creation\n"
        errors.append(forbidden_field("spec.persistentvolumesource", text))
    errors += immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
    if before.get("nodeAffinity") is not None:
        errors += immutable("spec.nodeAffinity", spec.get("nodeAffinity"), before.get("nodeAffinity"))
    if spec.get("volumeAttributesClassName") != before.get("volumeAttributesClassName") and spec.get("csi") is None:
        text = "update is forbidden when the volume is not a CSI volume"
        errors.append(invalid_value("spec.volumeAttributesClassName", spec.get("volumeAttributesClassName"), text))
    return errors


_CSI_SECRETS = frozenset({"controllerExpandSecretRef", "nodeExpandSecretRef"})


def _source(spec: Mapping[str, Any], field: str) -> Any:
    """The source without what may be filled in later."""
    found = spec.get(field)
    if field == "csi" and found is not None:
        return {key: value for key, value in found.items() if key not in _CSI_SECRETS}
    return found


def prepare_status(volume: Object, old: Object) -> None:
    """The time of the last change of phase is kept while the phase is the same."""
    status, before = volume.get("status") or {}, old.get("status") or {}
    if status.get("phase") == before.get("phase") and before.get("lastPhaseTransitionTime"):
        status.setdefault("lastPhaseTransitionTime", before["lastPhaseTransitionTime"])


def row(volume: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(volume, "spec"), part(volume, "status")
    claim = spec.get("claimRef") or {}
    phase = status.get("phase") or ""
    if part(volume, "metadata").get("deletionTimestamp"):
        phase = "Terminating"
    return (
        name(volume),
        str((spec.get("capacity") or {}).get("storage", "0")),
        access_modes_text(spec.get("accessModes") or ()),
        spec.get("persistentVolumeReclaimPolicy") or "",
        phase,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        storage_class_of(volume),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason") or "",
        age(volume, now),
        spec.get("volumeMode") or "<unset>",
    )


KIND = Kind(
    resource=PERSISTENT_VOLUMES,
    singular="persistentvolume",
    definition=DEFINITION,
    short_names=("pv",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    prepare_status=prepare_status,
    validate=validate,
    validate_update=validate_update,
    has_status=True,
    columns=(
        NAME,
        column("Capacity", f"{_SPEC}.capacity"),
        column("Access Modes", f"{_SPEC}.accessModes"),
        column("Reclaim Policy", f"{_SPEC}.persistentVolumeReclaimPolicy"),
        column("Status", f"{_STATUS}.phase"),
        column("Claim", f"{_SPEC}.claimRef"),
        column("StorageClass", text="StorageClass of the pv"),
        column("VolumeAttributesClass", text="VolumeAttributesClass of the pv"),
        column("Reason", f"{_STATUS}.reason"),
        AGE,
        column("VolumeMode", f"{_SPEC}.volumeMode", wide=True),
    ),
    row=row,
)
