"""Environment variables of containers, and where their values come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import field_not_found, invalid_value, required
from minikube_py.machinery.kinds.common.checks import Errors, label, named
from minikube_py.machinery.kinds.common.podspec.downward import (
    ENVIRONMENT_FIELDS,
    field_selector_errors,
    resource_selector_errors,
)
from minikube_py.machinery.kinds.common.podspec.paths import containers_with_paths, no_backsteps_errors
from minikube_py.machinery.names import (
    config_key_errors,
    dns1123_subdomain_errors,
    name_is_dns_subdomain,
    relaxed_environment_name_errors,
)


def environment_errors(path: str, variables: Sequence[Mapping[str, Any]]) -> Errors:
    """``ValidateEnv``."""
    errors: Errors = []
    for index, variable in enumerate(variables):
        field, name = f"{path}[{index}]", variable.get("name") or ""
        errors += named(f"{field}.name", name, relaxed_environment_name_errors) if name else [required(f"{field}.name")]
        if variable.get("valueFrom") is not None:
            errors += _value_source_errors(f"{field}.valueFrom", variable)
    return errors


_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def _value_source_errors(path: str, variable: Mapping[str, Any]) -> Errors:
    source = variable["valueFrom"]
    given = [name for name in _SOURCES if source.get(name) is not None]
    errors: Errors = []
    for name in given:
        field, found = f"{path}.{name}", source[name]
        if name == "fieldRef":
            errors += field_selector_errors(field, found, ENVIRONMENT_FIELDS)
        elif name == "resourceFieldRef":
            errors += resource_selector_errors(field, found, volume=False)
        elif name == "fileKeyRef":
            errors += _file_key_errors(field, found)
        else:
            errors += _key_selector_errors(field, found)
    if not given:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(invalid_value(path, "", text))
    elif variable.get("value"):
        errors.append(invalid_value(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(invalid_value(path, "", "may not have more than one field specified at a time"))
    return errors


def _key_selector_errors(path: str, selector: Mapping[str, Any]) -> Errors:
    errors = named(f"{path}.name", selector.get("name") or "", dns1123_subdomain_errors)
    key = selector.get("key") or ""
    return errors + (named(f"{path}.key", key, config_key_errors) if key else [required(f"{path}.key")])


def _file_key_errors(path: str, selector: Mapping[str, Any]) -> Errors:
    """``validateFileKeySelector``."""
    key, volume, file = (selector.get(name) or "" for name in ("key", "volumeName", "path"))
    errors = named(f"{path}.key", key, relaxed_environment_name_errors) if key else [required(f"{path}.key")]
    errors += label(f"{path}.volumeName", volume) if volume else [required(f"{path}.volumeName")]
    return errors + (no_backsteps_errors(f"{path}.path", file) if file else [required(f"{path}.path")])


def _prefix_errors(name: str) -> list[str]:
    """Names of whole sources are checked as if they were prefixes of generated names: one may end in a dash."""
    return name_is_dns_subdomain(name, prefix=True)


def file_key_volume_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validateFileKeyRefVolumes``: files of variables lie in empty directories of the pod."""
    errors: Errors = []
    for field, container in containers_with_paths(path, spec):
        for index, variable in enumerate(container.get("env") or ()):
            selector = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if selector is None:
                continue
            name, where = selector.get("volumeName") or "", f"{field}.env[{index}].valueFrom.fileKeyRef.volumeName"
            volume = next((v for v in reversed(spec.get("volumes") or ()) if v.get("name") == name), None)
            if volume is None:
                errors.append(field_not_found(where, name))
            elif volume.get("emptyDir") is None:
                errors.append(invalid_value(where, name, "referenced volume must be of type emptyDir"))
    return errors


def environment_source_errors(path: str, sources: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    for index, source in enumerate(sources):
        field = f"{path}[{index}]"
        if source.get("prefix"):
            errors += named(f"{field}.prefix", source["prefix"], relaxed_environment_name_errors)
        given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in given:
            referred = source[name].get("name") or ""
            where = f"{field}.{name}.name"
            errors += named(where, referred, _prefix_errors) if referred else [required(where)]
        if not given:
            errors.append(invalid_value(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(invalid_value(path, "", "may not have more than one field specified at a time"))
    return errors
