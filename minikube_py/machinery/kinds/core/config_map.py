"""ConfigMap: configuration as keys and texts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, too_long
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.setting import string_data_zero
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.names import config_key_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS

DEFINITION = "io.k8s.api.core.v1.ConfigMap"
MAX_BYTES = 1024 * 1024


def fill(config_map: Object) -> None:
    """Null values are empty texts."""
    string_data_zero(config_map, "data")


def validate(config_map: Object) -> list[FieldError]:
    """``ValidateConfigMap``: keys are file names, no key occurs twice, one MiB at most."""
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    errors: list[FieldError] = []
    total = 0
    for field, values in (("data", data), ("binaryData", binary)):
        for key, value in sorted(values.items()):
            errors += [invalid_value(f"{field}[{key}]", key, text) for text in config_key_errors(key)]
            if field == "data" and key in binary:
                text = "duplicate of key present in binaryData"
                errors.append(invalid_value(f"data[{key}]", key, text))
            total += len(value.encode()) if field == "data" else _decoded_length(value)
    if total > MAX_BYTES:
        errors.append(too_long("[]", MAX_BYTES))
    return errors


def _decoded_length(value: str | None) -> int:
    return len(base64.b64decode(value or ""))


def validate_update(config_map: Object, old: Object) -> list[FieldError]:
    """``ValidateConfigMapUpdate``: once immutable, the data stays as it is."""
    errors: list[FieldError] = []
    if old.get("immutable"):
        if not config_map.get("immutable"):
            errors.append(forbidden_field("immutable", "field is immutable when `immutable` is set"))
        errors += [
            forbidden_field(field, "field is immutable when `immutable` is set")
            for field in ("data", "binaryData")
            if (config_map.get(field) or {}) != (old.get(field) or {})
        ]
    return errors + validate(config_map)


def row(config_map: Mapping[str, Any], now: float) -> tuple[str, int, str]:
    return (
        name(config_map),
        len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ()),
        age(config_map, now),
    )


KIND = Kind(
    resource=CONFIG_MAPS,
    singular="configmap",
    definition=DEFINITION,
    short_names=("cm",),
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=validate_update,
    columns=(NAME, column("Data", f"{DEFINITION}.data"), AGE),
    row=row,
)
