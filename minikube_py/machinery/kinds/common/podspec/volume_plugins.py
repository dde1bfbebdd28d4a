"""Volume sources that pods and PersistentVolumes share: the plugins of ``core/validation/validation.go``.

Each check takes the path and the source and returns its errors in Kubernetes' order. Some paths are not
the JSON names; they are Kubernetes' own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.machinery.errors import invalid_value, not_supported, required
from minikube_py.machinery.kinds.common.checks import Errors, label, not_supported_in_order
from minikube_py.machinery.kinds.common.podspec.paths import no_backsteps_errors

Check = Callable[[str, Mapping[str, Any]], Errors]

_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_BYTE = "must be between 0 and 255, inclusive"
_PARTITION = "must be between 1 and 255, inclusive"
_INITIATORS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$"),
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$"),
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$"),
}
_HOST_PORTS = "must be a host:port pair or multiple pairs separated by commas"


def needs(*fields: str) -> Check:
    """A source of which only the presence of some fields is checked."""

    def check(path: str, source: Mapping[str, Any]) -> Errors:
        return [required(f"{path}.{field}") for field in fields if not source.get(field)]

    return check


def host_path(path: str, source: Mapping[str, Any]) -> Errors:
    target = source.get("path") or ""
    if not target:
        return [required(f"{path}.path")]
    errors = no_backsteps_errors(f"{path}.path", target)
    if (source.get("type") or "") not in _HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", source["type"], _HOST_PATH_TYPES))
    return errors


def nfs(path: str, source: Mapping[str, Any]) -> Errors:
    target = source.get("path") or ""
    errors: Errors = [] if source.get("server") else [required(f"{path}.server")]
    if not target:
        errors.append(required(f"{path}.path"))
    if not target.startswith("/"):
        errors.append(invalid_value(f"{path}.path", target, "must be an absolute path"))
    return errors


def iscsi(path: str, source: Mapping[str, Any]) -> Errors:
    """An iSCSI disk of a pod, whose texts tell more than those of a PersistentVolume's."""
    return _iscsi(path, source, "must be valid format starting with iqn, eui, or naa")


def persistent_iscsi(path: str, source: Mapping[str, Any]) -> Errors:
    errors = _iscsi(path, source, "must be valid format")
    secret = source.get("secretRef")
    if secret is not None and not secret.get("name"):
        errors.append(required(f"{path}.secretRef.name"))
    return errors


def _iscsi(path: str, source: Mapping[str, Any], unknown: str) -> Errors:
    errors: Errors = [] if source.get("targetPortal") else [required(f"{path}.targetPortal")]
    name = source.get("iqn") or ""
    errors += _initiator(f"{path}.iqn", name, unknown) if name else [required(f"{path}.iqn")]
    if not 0 <= (source.get("lun") or 0) <= 255:
        errors.append(invalid_value(f"{path}.lun", source["lun"], _BYTE))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        errors.append(required(f"{path}.secretRef"))
    if source.get("initiatorName") is not None:
        errors += _initiator(f"{path}.initiatorname", source["initiatorName"], unknown)
    return errors


def _initiator(path: str, name: str, unknown: str) -> Errors:
    pattern = _INITIATORS.get(name[:3])
    if pattern is None:
        return [invalid_value(path, name, unknown)]
    return [] if pattern.search(name) else [invalid_value(path, name, "must be valid format")]


def fibre_channel(path: str, source: Mapping[str, Any]) -> Errors:
    targets, wide = source.get("targetWWNs"), source.get("wwids")
    errors: Errors = []
    if not targets and not wide:
        errors.append(required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if targets and wide:
        text = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(invalid_value(f"{path}.targetWWNs", list(targets), text))
    if targets:
        lun = source.get("lun")
        if lun is None:
            errors.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= lun <= 255:
            errors.append(invalid_value(f"{path}.lun", lun, _BYTE))
    return errors


def _partitioned(field: str, path_suffix: str = "") -> Check:
    """A disk of a cloud by its name, and a partition of it."""

    def check(path: str, source: Mapping[str, Any]) -> Errors:
        where = path.rpartition(".")[0] + path_suffix if path_suffix else path
        errors: Errors = [] if source.get(field) else [required(f"{where}.{field}")]
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            errors.append(invalid_value(f"{where}.partition", partition, _PARTITION))
        return errors

    return check


def _quobyte(path: str, source: Mapping[str, Any]) -> Errors:
    registry = source.get("registry") or ""
    errors: Errors = []
    if not registry:
        errors.append(required(f"{path}.registry", _HOST_PORTS))
    elif len(source.get("tenant") or "") >= 65:
        errors.append(required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters"))
    else:
        pairs = [pair for pair in registry.split(",") if not re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*):[^:]*", pair)]
        errors += [invalid_value(f"{path}.registry", registry, _HOST_PORTS) for _ in pairs]
    return errors if source.get("volume") else [*errors, required(f"{path}.volume")]


def _flocker(path: str, source: Mapping[str, Any]) -> Errors:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    errors: Errors = []
    if not name and not uid:
        errors.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uid:
        text = "datasetName and datasetUUID can not be specified simultaneously"
        errors.append(invalid_value(path, "resource", text))
    if "/" in name:
        errors.append(invalid_value(f"{path}.datasetName", name, "must not contain '/'"))
    return errors


def _glusterfs(path: str, source: Mapping[str, Any]) -> Errors:
    errors = needs("endpoints", "path")(path, source)
    namespace = source.get("endpointsNamespace")
    if namespace == "":
        text = "if the endpointnamespace is set, it must be a valid namespace name"
        errors.append(invalid_value(f"{path}.endpointsNamespace", namespace, text))
    elif namespace is not None:
        errors += label(f"{path}.endpointsNamespace", namespace)
    return errors


def _cinder(path: str, source: Mapping[str, Any]) -> Errors:
    errors = needs("volumeID")(path, source)
    secret = source.get("secretRef")
    if secret is not None and not secret.get("name"):
        errors.append(required(f"{path}.secretRef.name"))
    return errors


def persistent_cinder(path: str, source: Mapping[str, Any]) -> Errors:
    errors = _cinder(path, source)
    secret = source.get("secretRef")
    if secret is not None and not secret.get("namespace"):
        errors.append(required(f"{path}.secretRef.namespace"))
    return errors


def _flex(path: str, source: Mapping[str, Any]) -> Errors:
    errors = needs("driver")(path, source)
    for key in sorted(source.get("options") or {}):
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            text = "kubernetes.io and k8s.io namespaces are reserved"
            errors.append(invalid_value(f"{path}.options[{key}]", key, text))
    return errors


def persistent_azure_file(path: str, source: Mapping[str, Any]) -> Errors:
    errors = needs("secretName", "shareName")(path, source)
    return [*errors, required(f"{path}.secretNamespace")] if source.get("secretNamespace") == "" else errors


_MANAGED = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def _azure_disk(path: str, source: Mapping[str, Any]) -> Errors:
    errors = needs("diskName", "diskURI")(path, source)
    for field, known in (("cachingMode", ("None", "ReadOnly", "ReadWrite")), ("kind", _AZURE_KINDS)):
        if source.get(field) is not None and source[field] not in known:
            errors.append(not_supported(f"{path}.{field}", source[field], known))
    kind, address = source.get("kind"), source.get("diskURI") or ""
    if kind == "Managed" and not address.startswith("/subscriptions/"):
        errors.append(not_supported_in_order(f"{path}.diskURI", address, (_MANAGED,)))
    if kind is not None and kind != "Managed" and not address.startswith("https://"):
        errors.append(not_supported_in_order(f"{path}.diskURI", address, (_BLOB,)))
    return errors


_AZURE_KINDS = ("Dedicated", "Managed", "Shared")


def storage_os(path: str, source: Mapping[str, Any]) -> Errors:
    name, namespace = source.get("volumeName") or "", source.get("volumeNamespace") or ""
    errors = label(f"{path}.volumeName", name) if name else [required(f"{path}.volumeName")]
    if namespace:
        errors += label(f"{path}.volumeNamespace", namespace)
    secret = source.get("secretRef")
    if secret is not None and not secret.get("name"):
        errors.append(required(f"{path}.secretRef.name"))
    return errors


def persistent_storage_os(path: str, source: Mapping[str, Any]) -> Errors:
    errors = storage_os(path, source)
    secret = source.get("secretRef")
    if secret is not None and not secret.get("namespace"):
        errors.append(required(f"{path}.secretRef.namespace"))
    return errors


PLUGINS: dict[str, Check] = {
    "gcePersistentDisk": _partitioned("pdName", ".persistentDisk"),
    "awsElasticBlockStore": _partitioned("volumeID"),
    "nfs": nfs,
    "iscsi": iscsi,
    "glusterfs": _glusterfs,
    "flocker": _flocker,
    "rbd": needs("monitors", "image"),
    "cinder": _cinder,
    "cephfs": needs("monitors"),
    "quobyte": _quobyte,
    "fc": fibre_channel,
    "flexVolume": _flex,
    "azureFile": needs("secretName", "shareName"),
    "vsphereVolume": needs("volumePath"),
    "photonPersistentDisk": needs("pdID"),
    "portworxVolume": needs("volumeID"),
    "azureDisk": _azure_disk,
    "storageos": storage_os,
    "scaleIO": needs("gateway", "system", "volumeName"),
}
"""The plugins as pods use them, by their field."""
