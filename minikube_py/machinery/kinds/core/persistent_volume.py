"""PersistentVolume: a piece of storage in the cluster."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    one_of,
    positive_quantity,
    quantity,
    required_name,
    subdomain,
)
from minikube_py.machinery.kinds.common.claim_validation import (
    BETA_CLASS_ANNOTATION,
    BETA_CLASS_TEXT,
    access_mode_errors,
)
from minikube_py.machinery.kinds.common.go_values import go_diff, go_object
from minikube_py.machinery.kinds.common.node_labels import node_term_warnings
from minikube_py.machinery.kinds.common.pod_defaults import default_volume_source
from minikube_py.machinery.kinds.common.pod_template_warnings import DEPRECATED_VOLUMES
from minikube_py.machinery.kinds.common.podspec.paths import no_backsteps_errors
from minikube_py.machinery.kinds.common.podspec.scheduling import node_selector_errors
from minikube_py.machinery.kinds.common.podspec.volume_plugins import (
    PLUGINS,
    Check,
    host_path,
    persistent_azure_file,
    persistent_cinder,
    persistent_iscsi,
    persistent_storage_os,
)
from minikube_py.machinery.kinds.common.podspec.volumes import (
    ISCSI_TOO_LONG,
    driver_name_errors,
    source_errors,
)
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, immutable
from minikube_py.machinery.kinds.core.access_modes import access_modes_text, storage_class_of
from minikube_py.machinery.names import dns1123_label_errors, dns1123_subdomain_errors
from minikube_py.machinery.objects import Object, annotations_of
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
    modes = spec.get("accessModes") or ()
    errors = access_mode_errors("spec.accessModes", modes) if modes else [required("spec.accessModes")]
    errors += _capacity_errors("spec.capacity", spec.get("capacity") or {})
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        errors += one_of("spec.persistentVolumeReclaimPolicy", policy, ("Delete", "Recycle", "Retain"))
    bound, affinity = spec.get("nodeAffinity"), (spec.get("nodeAffinity") or {}).get("required")
    if affinity is not None:
        errors += node_selector_errors("spec.nodeAffinity.required", affinity)
    elif bound is not None:
        errors.append(required("spec.nodeAffinity.required", "must specify required node constraints"))
    errors += source_errors("spec", spec, PERSISTENT_SOURCES)
    disk = spec.get("iscsi") or {}
    name = (volume.get("metadata") or {}).get("name") or ""
    if disk.get("initiatorName") is not None and len(f"{name}:{disk.get('targetPortal') or ''}") > 64:
        errors.append(invalid_value("spec.iscsi.targetportal", disk.get("targetPortal") or "", ISCSI_TOO_LONG))
    if spec.get("local") is not None and bound is None:
        errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    if posixpath.normpath((spec.get("hostPath") or {}).get("path") or ".") in ("/", "//") and policy == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden_field("spec.persistentVolumeReclaimPolicy", text))
    if spec.get("storageClassName"):
        errors += subdomain("spec.storageClassName", spec["storageClassName"])
    if spec.get("volumeMode") is not None:
        errors += one_of("spec.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    return errors + _attributes_class_errors(spec) + _mount_option_errors(volume, spec)


def _capacity_errors(path: str, capacity: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if capacity else [required(path)]
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(not_supported(path, dict(sorted(capacity.items())), ["storage"]))
    for resource, amount in sorted(capacity.items()):
        field = f"{path}[{resource}]"
        whole = -(-quantity(amount).nano // 10**9)
        if whole < 0:
            errors.append(invalid_value(field, whole, "must be a valid resource quantity"))
        errors += positive_quantity(field, amount)
    return errors


def _attributes_class_errors(spec: Mapping[str, Any]) -> Errors:
    field, name = "spec.volumeAttributesClassName", spec.get("volumeAttributesClassName")
    if name is None:
        return []
    errors = subdomain(field, name) if name else [required(field, "an empty string is disallowed")]
    if spec.get("csi") is None:
        errors.append(required("spec.csi", "has to be specified when using volumeAttributesClassName"))
    return errors


_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_MOUNTED_WITH_OPTIONS = frozenset((
    "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "nfs", "rbd", "quobyte", "iscsi", "cinder", "cephfs",
    "azureFile", "vsphereVolume", "azureDisk", "photonPersistentDisk",
))  # fmt: skip


def _mount_option_errors(volume: Object, spec: Mapping[str, Any]) -> Errors:
    """The annotation of old with mount options is for plugins that mount."""
    if _MOUNT_OPTIONS not in annotations_of(volume) or not _MOUNTED_WITH_OPTIONS.isdisjoint(spec):
        return []
    text = "may not specify mount options for this volume type"
    return [forbidden_field(f"metadata.annotations.{_MOUNT_OPTIONS}", text)]


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
            errors += required_name(f"{path}.{field}.name", reference.get("name"), dns1123_subdomain_errors)
            errors += required_name(f"{path}.{field}.namespace", reference.get("namespace"), dns1123_label_errors)
    return errors


_ORDER = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip
_CHECKS: dict[str, Check] = {
    **PLUGINS,
    "hostPath": host_path,
    "iscsi": persistent_iscsi,
    "cinder": persistent_cinder,
    "azureFile": persistent_azure_file,
    "storageos": persistent_storage_os,
    "local": _local,
    "csi": _csi,
}
PERSISTENT_SOURCES: dict[str, Check] = {name: _CHECKS[name] for name in _ORDER}


def validate_update(volume: Object, old: Object) -> list[FieldError]:
    """``ValidatePersistentVolumeUpdate``: source and mode stay, an affinity is set once.

    The strategy looks at the volume twice, so that what is wrong with it is told twice.
    """
    errors = validate(volume) * 2
    spec, before = volume.get("spec") or {}, old.get("spec") or {}
    source, was = ({name: found[name] for name in _ORDER if name in found} for found in (spec, before))
    if "csi" in source and "csi" in was:
        source["csi"] = _settable(source["csi"], was["csi"])
    if source != was:
        text = "spec.persistentvolumesource is immutable after creation\n"
        shown = [go_object("PersistentVolumeSource", found) for found in (was, source)]
        errors.append(forbidden_field("spec.persistentvolumesource", text + go_diff(*shown)))
    errors += immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
    if before.get("nodeAffinity") is not None:
        errors += _affinity_update_errors(spec.get("nodeAffinity"), before["nodeAffinity"])
    field = "volumeAttributesClassName"
    if before.get(field) is not None and spec.get(field) is None:
        errors.append(forbidden_field(f"spec.{field}", "update from non-nil value to nil is forbidden"))
    return errors


def _affinity_update_errors(affinity: Mapping[str, Any] | None, before: Mapping[str, Any]) -> Errors:
    if _with_stable_keys(before, affinity) == affinity:
        return []
    text = "field is immutable, except for updating from beta label to GA"
    return [invalid_value("nodeAffinity", go_object("VolumeNodeAffinity", affinity), text)]


_STABLE = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _with_stable_keys(before: Any, now: Any) -> Any:
    """The old affinity with beta labels called as in the new one, where that uses their stable names."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = {name: _with_stable_keys(value, now.get(name)) for name, value in before.items()}
        key = before.get("key")
        if isinstance(key, str) and _STABLE.get(key) == now.get("key"):
            found["key"] = now["key"]
        return found
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [_with_stable_keys(one, other) for one, other in zip(before, now, strict=True)]
    return before


def _settable(source: Mapping[str, Any], before: Mapping[str, Any]) -> Mapping[str, Any]:
    """A CSI source without the secret that may be set once."""
    if before.get("controllerExpandSecretRef") is not None:
        return source
    return {key: value for key, value in source.items() if key != "controllerExpandSecretRef"}


def stamp_status(volume: Object, old: Object, now: str) -> None:
    """A change of phase is noted with its time, unless the client says when it was."""
    status, before = volume.get("status") or {}, old.get("status") or {}
    if status.get("phase") == before.get("phase"):
        return
    if status.get(_PHASE_TIME) in (None, before.get(_PHASE_TIME)):
        status[_PHASE_TIME] = now
        volume["status"] = status


_PHASE_TIME = "lastPhaseTransitionTime"
_RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach "
    "is to use dynamic provisioning."
)
_WARNED_VOLUMES = ("cephfs", "photonPersistentDisk", "scaleIO", "storageos", "glusterfs", "rbd")


def warnings(volume: Object, old: Object | None) -> list[str]:
    """``GetWarningsForPersistentVolume``."""
    spec = volume.get("spec") or {}
    found = []
    if BETA_CLASS_ANNOTATION in annotations_of(volume):
        found.append(f"metadata.annotations[{BETA_CLASS_ANNOTATION}]: {BETA_CLASS_TEXT}")
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(_RECYCLE)
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        found += node_term_warnings(f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]", term)
    for source in _WARNED_VOLUMES:
        if spec.get(source) is not None:
            found.append(f"spec.{'storageOS' if source == 'storageos' else source}: {DEPRECATED_VOLUMES[source]}")
    return found


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
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    extra={"stamp_status": stamp_status},
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
