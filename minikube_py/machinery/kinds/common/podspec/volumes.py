"""Volumes of pods and the sources they share with PersistentVolumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label,
    label_selector_errors,
    one_of,
    quantity,
    subdomain,
)
from minikube_py.machinery.kinds.common.claim_validation import claim_template_errors
from minikube_py.machinery.kinds.common.podspec.downward import (
    VOLUME_FIELDS,
    field_selector_errors,
    resource_selector_errors,
)
from minikube_py.machinery.kinds.common.podspec.paths import (
    mode_errors,
    no_backsteps_errors,
    non_reserved_path_errors,
)

MIN_TOKEN_SECONDS = 600
MAX_TOKEN_SECONDS = 2**32
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_SECOND_SOURCE = "may not specify more than 1 volume type"

Check = Callable[[str, Mapping[str, Any]], Errors]


def volume_errors(path: str, volumes: Sequence[Mapping[str, Any]]) -> tuple[set[str], Errors]:
    """``ValidateVolumes``: the names of the valid volumes, and the errors of the others."""
    names: set[str] = set()
    errors: Errors = []
    for index, volume in enumerate(volumes):
        field, name = f"{path}[{index}]", volume.get("name") or ""
        found = source_errors(field, volume, POD_SOURCES)
        found += label(f"{field}.name", name) if name else [required(f"{field}.name")]
        if name in names:
            found.append(duplicate(f"{field}.name", name))
        if not found:
            names.add(name)
        errors += found
    return names, errors


def source_errors(path: str, volume: Mapping[str, Any], checks: Mapping[str, Check]) -> Errors:
    """Exactly one source, and that one valid."""
    errors: Errors = []
    given = [name for name in checks if volume.get(name) is not None]
    for index, name in enumerate(given):
        field = f"{path}.{name}"
        errors += checks[name](field, volume[name]) if index == 0 else [forbidden_field(field, _SECOND_SOURCE)]
    return errors if given else [required(path, "must specify a volume type")]


def _needs(*fields: str) -> Check:
    """A source of which only the presence of some fields is checked."""

    def check(path: str, source: Mapping[str, Any]) -> Errors:
        return [required(f"{path}.{field}") for field in fields if not source.get(field)]

    return check


def _empty_dir(path: str, source: Mapping[str, Any]) -> Errors:
    limit = source.get("sizeLimit")
    if limit is not None and quantity(limit).nano < 0:
        return [forbidden_field(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def host_path(path: str, source: Mapping[str, Any]) -> Errors:
    target = source.get("path") or ""
    if not target:
        return [required(f"{path}.path")]
    errors = no_backsteps_errors(f"{path}.path", target)
    if (source.get("type") or "") not in _HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", source["type"], _HOST_PATH_TYPES))
    return errors


def _secret(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return errors + mode_errors(f"{path}.defaultMode", source.get("defaultMode")) + _items(path, source)


def _config_map(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("name") else [required(f"{path}.name")]
    return errors + mode_errors(f"{path}.defaultMode", source.get("defaultMode")) + _items(path, source)


def _items(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    for index, item in enumerate(source.get("items") or ()):
        field = f"{path}.items[{index}]"
        if not item.get("key"):
            errors.append(required(f"{field}.key"))
        errors += _item_path(f"{field}.path", item.get("path") or "")
        errors += mode_errors(f"{field}.mode", item.get("mode"))
    return errors


def _item_path(path: str, target: str) -> Errors:
    return non_reserved_path_errors(path, target) if target else [required(path)]


def nfs(path: str, source: Mapping[str, Any]) -> Errors:
    target = source.get("path") or ""
    errors: Errors = [] if source.get("server") else [required(f"{path}.server")]
    if not target:
        errors.append(required(f"{path}.path"))
    if not target.startswith("/"):
        errors.append(invalid_value(f"{path}.path", target, "must be an absolute path"))
    return errors


def iscsi(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("targetPortal") else [required(f"{path}.targetPortal")]
    name = source.get("iqn") or ""
    if not name:
        errors.append(required(f"{path}.iqn"))
    elif not name.startswith(("iqn", "eui", "naa")):
        text = "must be valid format starting with iqn, eui, or naa"
        errors.append(invalid_value(f"{path}.iqn", name, text))
    if not 0 <= (source.get("lun") or 0) <= 255:
        errors.append(invalid_value(f"{path}.lun", source["lun"], "must be between 0 and 255, inclusive"))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and not source.get("secretRef"):
        errors.append(required(f"{path}.secretRef"))
    return errors


def fibre_channel(path: str, source: Mapping[str, Any]) -> Errors:
    if not source.get("targetWWNs") and not source.get("wwids"):
        return [required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")]
    if source.get("targetWWNs"):
        lun = source.get("lun")
        if lun is None:
            return [required(f"{path}.lun", "lun is required if targetWWNs is specified")]
        if not 0 <= lun <= 255:
            return [invalid_value(f"{path}.lun", lun, "must be between 0 and 255, inclusive")]
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
    errors = mode_errors(f"{path}.defaultMode", source.get("defaultMode"))
    for index, part in enumerate(source.get("sources") or ()):
        field = f"{path}.sources[{index}]"
        given = [name for name in _PROJECTIONS if part.get(name) is not None]
        for number, name in enumerate(given):
            if number == 0:
                errors += _PROJECTIONS[name](f"{field}.{name}", part[name])
            else:
                errors.append(forbidden_field(f"{field}.{name}", _SECOND_SOURCE))
    return errors


def _projected_file_source(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("name") else [required(f"{path}.name")]
    return errors + _items(path, source)


def _projected_token(path: str, source: Mapping[str, Any]) -> Errors:
    seconds = source.get("expirationSeconds")
    errors: Errors = []
    if seconds is not None and seconds < MIN_TOKEN_SECONDS:
        text = "may not specify a duration less than 10 minutes"
        errors.append(invalid_value(f"{path}.expirationSeconds", seconds, text))
    if seconds is not None and seconds > MAX_TOKEN_SECONDS:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid_value(f"{path}.expirationSeconds", seconds, text))
    return errors + _item_path(f"{path}.path", source.get("path") or "")


def _projected_bundle(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    named, signed = bool(source.get("name")), bool(source.get("signerName"))
    if named and signed:
        errors.append(invalid_value(path, None, "only one of name and signerName may be used"))
    elif not named and not signed:
        errors.append(required(path, "either name or signerName must be specified"))
    errors += label_selector_errors(f"{path}.labelSelector", source.get("labelSelector"))
    return errors + _item_path(f"{path}.path", source.get("path") or "")


def _projected_certificate(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("signerName") else [required(f"{path}.signerName")]
    kinds = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
    errors += one_of(f"{path}.keyType", source.get("keyType") or "", kinds)
    for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        if source.get(field):
            errors += non_reserved_path_errors(f"{path}.{field}", source[field])
    return errors


_PROJECTIONS: dict[str, Check] = {
    "secret": _projected_file_source,
    "configMap": _projected_file_source,
    "downwardAPI": _downward,
    "serviceAccountToken": _projected_token,
    "clusterTrustBundle": _projected_bundle,
    "podCertificate": _projected_certificate,
}


def driver_name_errors(path: str, driver: str) -> Errors:
    """``ValidateCSIDriverName``."""
    if not driver:
        return [required(path)]
    errors: Errors = []
    if len(driver) > 63:
        errors.append(invalid_value(path, driver, "must be no more than 63 characters"))
    return errors + [invalid_value(path, driver, error.detail) for error in subdomain(path, driver.lower())]


def _inline_csi(path: str, source: Mapping[str, Any]) -> Errors:
    errors = driver_name_errors(f"{path}.driver", source.get("driver") or "")
    reference = source.get("nodePublishSecretRef")
    if reference is not None and not reference.get("name"):
        errors.append(required(f"{path}.nodePublishSecretRef.name"))
    return errors


def _ephemeral(path: str, source: Mapping[str, Any]) -> Errors:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [required(f"{path}.volumeClaimTemplate")]
    return claim_template_errors(f"{path}.volumeClaimTemplate", template)


def _image(path: str, source: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if source.get("reference") else [required(f"{path}.reference")]
    return errors + one_of(f"{path}.pullPolicy", source.get("pullPolicy") or "", ("Always", "IfNotPresent", "Never"))


SHARED_SOURCES: dict[str, Check] = {
    "gcePersistentDisk": _needs("pdName"),
    "awsElasticBlockStore": _needs("volumeID"),
    "nfs": nfs,
    "iscsi": iscsi,
    "glusterfs": _needs("endpoints", "path"),
    "flocker": _needs("datasetName"),
    "rbd": _needs("monitors", "image"),
    "cinder": _needs("volumeID"),
    "cephfs": _needs("monitors"),
    "quobyte": _needs("registry", "volume"),
    "fc": fibre_channel,
    "flexVolume": _needs("driver"),
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _needs("diskName", "diskURI"),
    "storageos": _needs(),
    "scaleIO": _needs("gateway", "system", "volumeName"),
}

POD_SOURCES: dict[str, Check] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _needs("repository"),
    **SHARED_SOURCES,
    "secret": _secret,
    "persistentVolumeClaim": _needs("claimName"),
    "downwardAPI": _downward,
    "configMap": _config_map,
    "projected": _projected,
    "csi": _inline_csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
