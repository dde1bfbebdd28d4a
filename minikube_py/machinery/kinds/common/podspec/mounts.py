"""Volume mounts and block devices of containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import field_not_found, forbidden_field, invalid_value, required
from minikube_py.machinery.kinds.common.checks import Errors, one_of
from minikube_py.machinery.kinds.common.podspec.paths import descending_path_errors

Volumes = Mapping[str, Mapping[str, Any]]
"""The valid volumes of a pod by their names."""


def mount_errors(path: str, container: Mapping[str, Any], volumes: Volumes) -> Errors:
    errors: Errors = []
    taken: set[str] = set()
    devices = container.get("volumeDevices") or ()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        field, name, target = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{field}.name"))
        if name not in volumes:
            errors.append(field_not_found(f"{field}.name", name))
        if not target:
            errors.append(required(f"{field}.mountPath"))
        if target in taken:
            errors.append(invalid_value(f"{field}.mountPath", target, "must be unique"))
        taken.add(target)
        if any(device.get("name") == name for device in devices):
            errors.append(invalid_value(f"{field}.name", name, "must not already exist in volumeDevices"))
        if any(device.get("devicePath") == target for device in devices):
            text = "must not already exist as a path in volumeDevices"
            errors.append(invalid_value(f"{field}.mountPath", target, text))
        errors += _sub_path_errors(path, field, mount)
        errors += _propagation_errors(f"{path}.mountPropagation", mount.get("mountPropagation"), container)
        errors += _recursive_errors(f"{path}.recursiveReadOnly", mount)
    return errors


def _sub_path_errors(path: str, field: str, mount: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    if mount.get("subPath"):
        errors += descending_path_errors(f"{path}.subPath", mount["subPath"])
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            text = "subPathExpr and subPath are mutually exclusive"
            errors.append(invalid_value(f"{field}.subPathExpr", mount["subPathExpr"], text))
        errors += descending_path_errors(f"{path}.subPathExpr", mount["subPathExpr"])
    return errors


def _propagation_errors(path: str, mode: str | None, container: Mapping[str, Any]) -> Errors:
    if mode is None:
        return []
    errors = one_of(path, mode, ("Bidirectional", "HostToContainer", "None"))
    privileged = (container.get("securityContext") or {}).get("privileged")
    if mode == "Bidirectional" and not privileged:
        text = "Bidirectional mount propagation is available only to privileged containers"
        errors.append(forbidden_field(path, text))
    return errors


def _recursive_errors(path: str, mount: Mapping[str, Any]) -> Errors:
    mode = mount.get("recursiveReadOnly")
    if mode is None or mode == "Disabled":
        return []
    if mode not in ("Enabled", "IfPossible"):
        return one_of(path, mode, ("Disabled", "Enabled", "IfPossible"))
    errors: Errors = []
    if not mount.get("readOnly"):
        errors.append(forbidden_field(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation") not in (None, "None"):
        text = "may only be specified when mountPropagation is None or not specified"
        errors.append(forbidden_field(path, text))
    return errors


def device_errors(path: str, container: Mapping[str, Any], volumes: Volumes) -> Errors:
    errors: Errors = []
    names: set[str] = set()
    targets: set[str] = set()
    mounts = container.get("volumeMounts") or ()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        field, name, target = f"{path}[{index}]", device.get("name") or "", device.get("devicePath") or ""
        if not name:
            errors.append(required(f"{field}.name"))
        if name in names:
            errors.append(invalid_value(f"{field}.name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is None:
            errors.append(field_not_found(f"{field}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(invalid_value(f"{field}.name", name, text))
        if not target:
            errors.append(required(f"{field}.devicePath"))
        if target in targets:
            errors.append(invalid_value(f"{field}.devicePath", target, "must be unique"))
        if ".." in target.split("/"):
            errors.append(invalid_value(f"{field}.devicePath", target, "can not contain backsteps ('..')"))
        else:
            targets.add(target)
        if any(mount.get("name") == name for mount in mounts):
            errors.append(invalid_value(f"{field}.name", name, "must not already exist in volumeMounts"))
        if any(mount.get("mountPath") == target for mount in mounts):
            text = "must not already exist as a path in volumeMounts"
            errors.append(invalid_value(f"{field}.devicePath", target, text))
        if name:
            names.add(name)
    return errors
