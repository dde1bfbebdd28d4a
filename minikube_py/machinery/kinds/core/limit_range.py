"""LimitRange: bounds and defaults for the resources of one namespace."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, forbidden_field, invalid_value, required
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.checks import qualified_name, quantity
from minikube_py.machinery.kinds.common.resource_names import (
    can_overcommit,
    container_resource_errors,
    standard_resource_errors,
)
from minikube_py.machinery.kinds.common.setting import child, items
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import LIMIT_RANGES

DEFINITION = "io.k8s.api.core.v1.LimitRange"
_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def fill(limit_range: Object) -> None:
    """For containers: defaults follow from maxima, default requests from defaults, then minima."""
    for item in items(child(limit_range, "spec"), "limits"):
        if item.get("type") != "Container":
            continue
        limits = child(item, "default")
        for name, amount in (item.get("max") or {}).items():
            limits.setdefault(name, amount)
        requests = child(item, "defaultRequest")
        for source in (limits, item.get("min") or {}):
            for name, amount in source.items():
                requests.setdefault(name, amount)
        for field in ("default", "defaultRequest"):
            if not item[field]:
                del item[field]


def prepare_create(limit_range: Object) -> None:
    """A LimitRange may come without a name; then it gets a UUID."""
    meta = limit_range["metadata"]
    if not meta.get("name"):
        meta["name"] = str(uuid.uuid4())


def validate(limit_range: Object) -> list[FieldError]:
    """``ValidateLimitRange``."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, item in enumerate((limit_range.get("spec") or {}).get("limits") or ()):
        path, sort = f"spec.limits[{index}]", item.get("type") or ""
        wrong = qualified_name(f"{path}.type", sort)
        if not wrong and "/" not in sort and sort not in _TYPES:
            text = "must be a standard limit type or fully qualified"
            wrong = [invalid_value(f"{path}.type", sort, text)]
        errors += wrong
        if sort in seen:
            errors.append(duplicate(f"{path}.type", sort))
        seen.add(sort)
        errors += _item_errors(path, sort, item)
    return errors


def _item_errors(path: str, sort: str, item: Mapping[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    resource_errors = container_resource_errors if sort in ("Pod", "Container") else standard_resource_errors
    for field in ("max", "min"):
        for name in sorted(item.get(field) or {}):
            errors += resource_errors(f"{path}.{field}[{name}]", name)
            names.add(name)
    if sort == "Pod":
        for field in ("default", "defaultRequest"):
            if item.get(field):
                errors.append(forbidden_field(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
    else:
        for field in ("default", "defaultRequest"):
            for name in sorted(item.get(field) or {}):
                errors += resource_errors(f"{path}.{field}[{name}]", name)
                names.add(name)
    if sort == "PersistentVolumeClaim" and "storage" not in {**(item.get("min") or {}), **(item.get("max") or {})}:
        text = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(required(f"{path}.limits", text))
    for name in sorted(item.get("maxLimitRequestRatio") or {}):
        errors += resource_errors(f"{path}.maxLimitRequestRatio[{name}]", name)
        names.add(name)
    for name in sorted(names):
        errors += _bounds_errors(path, name, item)
    return errors


def _bounds_errors(path: str, name: str, item: Mapping[str, Any]) -> list[FieldError]:
    found = {field: quantity(item[field][name]) for field in _FIELDS if name in (item.get(field) or {})}
    low, high = found.get("min"), found.get("max")
    normal, asked, ratio = found.get("default"), found.get("defaultRequest"), found.get("maxLimitRequestRatio")
    errors: list[FieldError] = []

    def wrong(field: str, value: Any, text: str) -> None:
        errors.append(invalid_value(f"{path}.{field}[{name}]", str(value), text))

    if low is not None and high is not None and low > high:
        wrong("min", low, f"min value {low} is greater than max value {high}")
    if asked is not None and low is not None and low > asked:
        wrong("defaultRequest", asked, f"min value {low} is greater than default request value {asked}")
    if asked is not None and high is not None and asked > high:
        wrong("defaultRequest", asked, f"default request value {asked} is greater than max value {high}")
    if asked is not None and normal is not None and asked > normal:
        wrong("defaultRequest", asked, f"default request value {asked} is greater than default limit value {normal}")
    if normal is not None and low is not None and low > normal:
        wrong("default", low, f"min value {low} is greater than default value {normal}")
    if normal is not None and high is not None and normal > high:
        wrong("default", high, f"default value {normal} is greater than max value {high}")
    if ratio is not None:
        if ratio.milli() < 1000:
            wrong("maxLimitRequestRatio", ratio, f"ratio {ratio} is less than 1")
        if low is not None and high is not None and low.nano > 0 and ratio.nano * low.nano > high.nano * 10**9:
            text = f"ratio {ratio} is greater than max/min = {high.nano / low.nano:f}"
            wrong("maxLimitRequestRatio", ratio, text)
    return errors + _overcommit_errors(path, name, normal, asked)


def _overcommit_errors(path: str, name: str, normal: Any, asked: Any) -> list[FieldError]:
    """Huge pages and extended resources cannot be overcommitted."""
    if can_overcommit(name) or normal is None or asked is None or normal == asked:
        return []
    text = f"default value {normal} must equal to defaultRequest value {asked} in {name}"
    return [invalid_value(f"{path}.defaultRequest[{name}]", str(asked), text)]


KIND = Kind(
    resource=LIMIT_RANGES,
    singular="limitrange",
    definition=DEFINITION,
    short_names=("limits",),
    default=defaults(DEFINITION, fill),
    prepare_create=prepare_create,
    validate=validate,
    validate_update=lambda new, old: validate(new),
    create_on_update=True,
)
