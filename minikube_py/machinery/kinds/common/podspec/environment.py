"""Environment variables of containers, and where their values come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import invalid_value, required
from minikube_py.machinery.kinds.common.checks import Errors, named
from minikube_py.machinery.kinds.common.podspec.downward import (
    ENVIRONMENT_FIELDS,
    field_selector_errors,
    resource_selector_errors,
)
from minikube_py.machinery.kinds.common.podspec.paths import descending_path_errors
from minikube_py.machinery.names import (
    config_key_errors,
    dns1123_subdomain_errors,
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
    errors: Errors = []
    for name in ("volumeName", "path", "key"):
        if not selector.get(name):
            errors.append(required(f"{path}.{name}"))
    if selector.get("path"):
        errors += descending_path_errors(f"{path}.path", selector["path"])
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
            errors += named(where, referred, dns1123_subdomain_errors) if referred else [required(where)]
        if not given:
            errors.append(invalid_value(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(invalid_value(path, "", "may not have more than one field specified at a time"))
    return errors
