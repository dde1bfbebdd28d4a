"""Volumes of pods (``ValidateVolumes``); the plugins they share with PersistentVolumes are in ``volume_plugins``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, forbidden_field, invalid_value, required, too_long
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label,
    label_selector_errors,
    one_of,
    quantity,
    subdomain,
)
from minikube_py.machinery.kinds.common.claim_validation import claim_template_errors
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.podspec.downward import (
    VOLUME_FIELDS,
    field_selector_errors,
    resource_selector_errors,
)
from minikube_py.machinery.kinds.common.podspec.paths import (
    descending_path_errors,
    mode_errors,
    non_reserved_path_errors,
)
from minikube_py.machinery.kinds.common.podspec.volume_plugins import PLUGINS, Check, host_path, needs

MIN_TOKEN_SECONDS = 600
MAX_TOKEN_SECONDS = 2**32
ISCSI_TOO_LONG = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
    "specified."
)
_SECOND_SOURCE = "may not specify more than 1 volume type"
_SECOND_PATHS = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
"""Fields whose path Kubernetes spells otherwise when they are the second source."""


def volume_errors(
    path: str, volumes: Sequence[Mapping[str, Any]], pod_name: str = ""
) -> tuple[dict[str, Mapping[str, Any]], Errors]:
    """``ValidateVolumes``: the valid volumes by their names, and the errors of the others.

    ``pod_name`` is that of a pod that exists by itself; the claims of its ephemeral volumes are named after it.
    """
    known: dict[str, Mapping[str, Any]] = {}
    errors: Errors = []
    made = {f"{pod_name}-{volume.get('name') or ''}" for volume in volumes if pod_name and volume.get("ephemeral")}
    for index, volume in enumerate(volumes):
        field, name = f"{path}[{index}]", volume.get("name") or ""
        found = source_errors(field, volume, POD_SOURCES) + _name_length_errors(field, volume, pod_name)
        found += label(f"{field}.name", name) if name else [required(f"{field}.name")]
        if name in known:
            found.append(duplicate(f"{field}.name", name))
        if not found:
            known[name] = volume
        errors += found
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName") or ""
        if claim in made:
            text = "must not reference a PVC that gets created for an ephemeral volume"
            errors.append(invalid_value(f"{field}.persistentVolumeClaim.claimName", claim, text))
    return known, errors


def _name_length_errors(path: str, volume: Mapping[str, Any], pod_name: str) -> Errors:
    """Names that are built from the volume's name: of an iSCSI session and of an ephemeral volume's claim."""
    name, disk = volume.get("name") or "", volume.get("iscsi") or {}
    errors: Errors = []
    if disk.get("initiatorName") is not None and len(f"{name}:{disk.get('targetPortal') or ''}") > 64:
        errors.append(invalid_value(f"{path}.name", name, ISCSI_TOO_LONG))
    if volume.get("ephemeral") is not None and pod_name and name:
        claim = f"{pod_name}-{name}"
        errors += [
            invalid_value(f"{path}.name", name, f'PVC name "{claim}": {error.detail}') for error in subdomain("", claim)
        ]
    return errors


def source_errors(path: str, volume: Mapping[str, Any], checks: Mapping[str, Check]) -> Errors:
    """Exactly one source, and that one valid."""
    errors: Errors = []
    given = [name for name in checks if volume.get(name) is not None]
    for index, name in enumerate(given):
        if index == 0:
            errors += checks[name](f"{path}.{name}", volume[name])
        else:
            errors.append(forbidden_field(f"{path}.{_SECOND_PATHS.get(name, name)}", _SECOND_SOURCE))
    return errors if given else [required(path, "must specify a volume type")]


def _empty_dir(path: str, source: Mapping[str, Any]) -> Errors:
    limit = source.get("sizeLimit")
    if limit is not None and quantity(limit).nano < 0:
        return [forbidden_field(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _secret(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return errors + mode_errors(f"{path}.defaultMode", source.get("defaultMode")) + _items(path, source)


def _config_map(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("name") else [required(f"{path}.name")]
    return errors + mode_errors(f"{path}.defaultMode", source.get("defaultMode")) + _items(path, source)


def _items(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for index, item in enumerate(source.get("items") or ()):
        errors += _item_errors(f"{path}.items[{index}]", item)
    return errors


def _item_errors(path: str, item: Mapping[str, Any]) -> Errors:
    """``validateKeyToPath``."""
    errors: Errors = [] if item.get("key") else [required(f"{path}.key")]
    errors += _item_path(f"{path}.path", item.get("path") or "")
    return errors + mode_errors(f"{path}.mode", item.get("mode"))


def _item_path(path: str, target: str) -> Errors:
    return non_reserved_path_errors(path, target) if target else [required(path)]


def _taken_path_errors(path: str, value: str, target: str, taken: set[str]) -> Errors:
    """Files of a projected volume do not overwrite each other; ``value`` is what Kubernetes blames."""
    if target in taken:
        return [invalid_value(path, value, "conflicting duplicate paths")]
    taken.add(target)
    return []


def _downward(path: str, source: Mapping[str, Any]) -> Errors:
    errors = mode_errors(f"{path}.defaultMode", source.get("defaultMode"))
    for item in source.get("items") or ():
        errors += _downward_file(path, item)
    return errors


def _downward_file(path: str, item: Mapping[str, Any]) -> Errors:
    """``validateDownwardAPIVolumeFile``; Kubernetes leaves the item's index out of the path."""
    errors = _item_path(f"{path}.path", item.get("path") or "")
    if item.get("fieldRef") is not None:
        errors += field_selector_errors(f"{path}.fieldRef", item["fieldRef"], VOLUME_FIELDS)
        if item.get("resourceFieldRef") is not None:
            text = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid_value(path, "resource", text))
    elif item.get("resourceFieldRef") is not None:
        errors += resource_selector_errors(f"{path}.resourceFieldRef", item["resourceFieldRef"], volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + mode_errors(f"{path}.mode", item.get("mode"))


def _projected(path: str, source: Mapping[str, Any]) -> Errors:
    """``validateProjectionSources``; a token's path is reported at the volume, as upstream."""
    errors = mode_errors(f"{path}.defaultMode", source.get("defaultMode"))
    taken: set[str] = set()
    for index, part in enumerate(source.get("sources") or ()):
        field = f"{path}.sources[{index}]"
        for name in ("secret", "configMap"):
            if part.get(name) is not None:
                errors += _projected_files(path, f"{field}.{name}", part[name], taken)
        for item in (part.get("downwardAPI") or {}).get("items") or ():
            errors += _downward_file(f"{field}.downwardAPI", item)
            if item.get("path"):
                errors += _taken_path_errors(path, item["path"], item["path"], taken)
        if part.get("serviceAccountToken") is not None:
            errors += _projected_token(path, f"{field}.serviceAccountToken", part["serviceAccountToken"])
        if part.get("clusterTrustBundle") is not None:
            bundle = part["clusterTrustBundle"]
            errors += _projected_bundle(f"{field}.clusterTrustBundle", bundle)
            errors += _taken_path_errors(path, bundle.get("path") or "", bundle.get("path") or "", taken)
        if part.get("podCertificate") is not None:
            errors += _projected_certificate(f"{field}.podCertificate", part["podCertificate"])
        if sum(part.get(name) is not None for name in _PROJECTIONS) > 1:
            errors.append(forbidden_field(field, "may not specify more than 1 volume type per source"))
    return errors


_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")


def _projected_files(path: str, field: str, source: Mapping[str, Any], taken: set[str]) -> Errors:
    name = source.get("name") or ""
    errors: Errors = [] if name else [required(f"{field}.name")]
    for index, item in enumerate(source.get("items") or ()):
        errors += _item_errors(f"{field}.items[{index}]", item)
        if item.get("path"):
            errors += _taken_path_errors(path, name, item["path"], taken)
    return errors


def _projected_token(path: str, field: str, source: Mapping[str, Any]) -> Errors:
    seconds = source.get("expirationSeconds")
    errors: Errors = []
    if seconds is not None and seconds < MIN_TOKEN_SECONDS:
        text = "may not specify a duration less than 10 minutes"
        errors.append(invalid_value(f"{field}.expirationSeconds", seconds, text))
    if seconds is not None and seconds > MAX_TOKEN_SECONDS:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid_value(f"{field}.expirationSeconds", seconds, text))
    return errors + _item_path(f"{path}.path", source.get("path") or "")


def _projected_bundle(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        shown = go_object("ClusterTrustBundleProjection", source)
        errors.append(invalid_value(path, shown, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            errors.append(required(f"{path}.name", "must be a valid object name"))
        errors += [
            invalid_value(f"{path}.name", name, f"not a valid clustertrustbundlename: {error.detail}")
            for error in subdomain("", name.replace(":", ".", 2) if name.count(":") == 2 else name)
        ]
        if source.get("labelSelector") is not None:
            text = "labelSelector must be unset if name is specified"
            errors.append(invalid_value(f"{path}.labelSelector", dict(source["labelSelector"]), text))
    elif signer is not None:
        if not signer:
            errors.append(required(f"{path}.signerName", "must be a valid signer name"))
        errors += label_selector_errors(f"{path}.labelSelector", source.get("labelSelector"))
    else:
        errors.append(required(path, "either name or signerName must be specified"))
    return errors + _item_path(f"{path}.path", source.get("path") or "")


def _projected_certificate(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("signerName") else [required(f"{path}.signerName")]
    kinds = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
    errors += one_of(f"{path}.keyType", source.get("keyType") or "", kinds)
    for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        if source.get(field):
            errors += non_reserved_path_errors(f"{path}.{field}", source[field])
    return errors


def driver_name_errors(path: str, driver: str) -> Errors:
    """``ValidateCSIDriverName``."""
    errors: Errors = [] if driver else [required(path)]
    if len(driver) > 63:
        errors.append(too_long(path, 63))
    return errors + [invalid_value(path, driver, error.detail) for error in subdomain(path, driver.lower())]


def _inline_csi(path: str, source: Mapping[str, Any]) -> Errors:
    errors = driver_name_errors(f"{path}.driver", source.get("driver") or "")
    reference = source.get("nodePublishSecretRef")
    if reference is not None:
        name = reference.get("name") or ""
        errors += subdomain(f"{path}.name", name) if name else [required(f"{path}.nodePublishSecretRef.name")]
    return errors


def _ephemeral(path: str, source: Mapping[str, Any]) -> Errors:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [required(f"{path}.volumeClaimTemplate")]
    return claim_template_errors(f"{path}.volumeClaimTemplate", template)


def _image(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("reference") else [required(f"{path}.reference")]
    return errors + one_of(f"{path}.pullPolicy", source.get("pullPolicy") or "", ("Always", "IfNotPresent", "Never"))


def _git_repo(path: str, source: Mapping[str, Any]) -> Errors:
    errors = needs("repository")(path, source)
    return errors + descending_path_errors(f"{path}.directory", source.get("directory") or "")


_ORDER = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip
_CHECKS: dict[str, Check] = {
    **PLUGINS,
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _git_repo,
    "secret": _secret,
    "persistentVolumeClaim": needs("claimName"),
    "downwardAPI": _downward,
    "configMap": _config_map,
    "projected": _projected,
    "csi": _inline_csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
POD_SOURCES: dict[str, Check] = {name: _CHECKS[name] for name in _ORDER}
"""The sources of a pod's volumes in the order in which Kubernetes looks at them."""
