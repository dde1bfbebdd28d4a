"""Query parameters and DeleteOptions, checked as Kubernetes checks its option kinds (``delete_options`` reads them)."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from minikube_py.components.apiserver.http.request_info import Query, truth
from minikube_py.components.apiserver.storage.lists import ListOptions
from minikube_py.machinery.errors import FieldError, bad_request, forbidden_field, invalid, invalid_value, required
from minikube_py.machinery.objects import Object

_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_POLICIES = ("Foreground", "Background", "Orphan")
_MANAGER_LIMIT = 128
_INT64_DIGITS = 19


def integer(query: Query, name: str) -> int | None:
    """An integer parameter, None when it is absent. ApiError 400."""
    return parsed_integer(query[name]) if name in query else None


def parsed_integer(text: str) -> int:
    """A 64-bit integer. ApiError 400 with strconv's text."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    digits = text.lstrip("+-").lstrip("0")
    number = int(digits or "0") * (-1 if text[0] == "-" else 1) if len(digits) <= _INT64_DIGITS else None
    if number is None or not -(2**63) <= number < 2**63:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def list_options(query: Query) -> ListOptions:
    integer(query, "timeoutSeconds")
    return ListOptions(
        resource_version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        limit=max(0, integer(query, "limit") or 0),
        continue_token=query.get("continue", ""),
        initial_events=truth(query["sendInitialEvents"]) if "sendInitialEvents" in query else None,
    )


def table_include(query: Query) -> str:
    """What rows of a Table carry of their objects. ApiError 400."""
    include = query.get("includeObject") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        error = invalid_value("includeObject", include, "must be 'Metadata', 'Object', 'None', or empty")
        raise bad_request(f"Unable to convert to Table as requested: {error.field}: {error.body()}")
    return include


_NO_OPTIONS: Object = {"dry_run": False, "field_manager": "", "field_validation": "Warn", "force": False}


def write_options(query: Query, raw_query: str, name: str, *, apply: bool = False, patch: bool = False) -> Object:
    """Options of create, update and patch as keyword arguments of a RequestContext. ApiError 422."""
    if not query and not apply:
        return dict(_NO_OPTIONS)
    errors: list[FieldError] = []
    dry_run = (
        [value for key, value in parse_qsl(raw_query, keep_blank_values=True) if key == "dryRun"] if raw_query else []
    )
    manager, validation = query.get("fieldManager", ""), query.get("fieldValidation", "")
    force = "force" in query and query["force"] not in ("0", "false")
    if patch and not apply and "force" in query:
        errors.append(forbidden_field("force", "may not be specified for non-apply patch"))
    if apply and not manager:
        errors.append(required("fieldManager", "is required for apply patch"))
    errors += _dry_run_errors(dry_run)
    errors += _manager_errors(manager)
    if validation not in _VALIDATIONS:
        supported = ", ".join(f'"{item}"' for item in _VALIDATIONS)
        errors.append(
            FieldError("FieldValueNotSupported", "fieldValidation", validation, f"supported values: {supported}")
        )
    if errors:
        raise invalid("meta.k8s.io", name, "", errors)
    return {
        "dry_run": bool(dry_run),
        "field_manager": manager,
        "field_validation": validation or "Warn",
        "force": force,
    }


def _dry_run_errors(values: list[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    return [FieldError("FieldValueNotSupported", "dryRun", values, 'supported values: "All"')]


def _manager_errors(manager: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(manager) > _MANAGER_LIMIT:
        errors.append(
            FieldError("FieldValueTooLong", "fieldManager", "", f"may not be more than {_MANAGER_LIMIT} bytes")
        )
    for position, char in enumerate(manager):
        if not char.isprintable():
            errors.append(
                invalid_value("fieldManager", manager, f"invalid character U+{ord(char):04X} (at position {position})")
            )
    return errors


def check_delete_options(given: Object) -> None:
    """``ValidateDeleteOptions``: ApiError 422."""
    errors: list[FieldError] = []
    policy, orphan = given.get("propagationPolicy"), given.get("orphanDependents")
    if policy is not None and orphan is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(invalid_value("propagationPolicy", policy, text))
    if policy is not None and policy not in _POLICIES:
        supported = ", ".join(f'"{item}"' for item in (*_POLICIES, "nil"))
        errors.append(
            FieldError("FieldValueNotSupported", "propagationPolicy", policy, f"supported values: {supported}")
        )
    errors += _dry_run_errors(list(given.get("dryRun") or ()))
    if errors:
        raise invalid("meta.k8s.io", "DeleteOptions", "", errors)


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PIECE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def duration_seconds(text: str) -> float | None:
    """A Go duration ("1m30s"); None when malformed."""
    if text == "0":
        return 0.0
    if not text or not re.fullmatch(rf"[+-]?(?:{_PIECE.pattern})+", text):
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))
    return -total if text.startswith("-") else total


_UNIT = re.compile(
    r"[+-]?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h)|\.\d+(?:ns|us|µs|ms|s|m|h))*(?:\d+\.?\d*|\.\d+)([^0-9.]*)"
)


def _duration_problem(text: str) -> str:
    """Go's complaint about a malformed duration: its first number has no unit, or one that does not exist."""
    found = _UNIT.match(text)
    if found is None:
        return f'time: invalid duration "{text}"'
    if not found[1]:
        return f'time: missing unit in duration "{text}"'
    return f'time: unknown unit "{found[1]}" in duration "{text}"'


def request_timeout(query: Query, longest: float) -> float:
    """Seconds that the request may take. ApiError 400 for a malformed ``timeout``."""
    text = query.get("timeout", "")
    if not text:
        return longest
    found = duration_seconds(text)
    if found is None:
        raise bad_request(f"invalid timeout specified in the request URL - {_duration_problem(text)}")
    return min(found, longest) if found > 0 else longest
