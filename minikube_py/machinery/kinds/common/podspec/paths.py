"""Paths inside volumes and file modes."""

from __future__ import annotations

from minikube_py.machinery.errors import invalid_value
from minikube_py.machinery.kinds.common.checks import Errors

NO_BACKSTEPS = "must not contain '..'"
_MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"


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
