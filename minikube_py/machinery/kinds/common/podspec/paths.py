"""Paths: of containers in a spec, of files inside volumes; and the modes of such files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.machinery.errors import invalid_value
from minikube_py.machinery.kinds.common.checks import Errors

NO_BACKSTEPS = "must not contain '..'"
_MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"


def containers_with_paths(path: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All containers and the paths of their fields, in the order of ``VisitContainersWithPath``."""
    for sort in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(sort) or ()):
            yield f"{path}.{sort}[{index}]", container


def no_backsteps_errors(path: str, target: str) -> Errors:
    """``validatePathNoBacksteps``."""
    return [invalid_value(path, target, NO_BACKSTEPS)] if ".." in target.split("/") else []


def descending_path_errors(path: str, target: str) -> Errors:
    """``validateLocalDescendingPath``: relative, and never upwards."""
    errors = [invalid_value(path, target, "must be a relative path")] if target.startswith("/") else []
    return errors + no_backsteps_errors(path, target)


def non_reserved_path_errors(path: str, target: str) -> Errors:
    """``validateLocalNonReservedPath``: names starting with ".." belong to the atomic writer."""
    errors = descending_path_errors(path, target)
    if target.startswith("..") and not target.startswith("../"):
        errors.append(invalid_value(path, target, "must not start with '..'"))
    return errors


def mode_errors(path: str, mode: int | None) -> Errors:
    if mode is not None and not 0 <= mode <= 0o777:
        return [invalid_value(path, mode, _MODE_TEXT)]
    return []
