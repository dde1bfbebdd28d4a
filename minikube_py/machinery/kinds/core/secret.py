"""Secret: confidential data as keys and bytes (base64 in JSON)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required, too_long
from minikube_py.machinery.json_errors import explain
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.setting import child, set_default, string_data_zero
from minikube_py.machinery.kinds.common.strategy import defaults, immutable
from minikube_py.machinery.kinds.core.tls_pair import pair_problem
from minikube_py.machinery.names import config_key_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import SECRETS

DEFINITION = "io.k8s.api.core.v1.Secret"
MAX_BYTES = 1024 * 1024
SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
TLS = "kubernetes.io/tls"
_IMMUTABLE = "field is immutable when `immutable` is set"


def fill(secret: Object) -> None:
    """``stringData`` is written into ``data``; the type defaults to Opaque."""
    set_default(secret, type="Opaque")
    string_data_zero(secret, "data")
    for key, text in (secret.pop("stringData", None) or {}).items():
        child(secret, "data")[key] = base64.b64encode((text or "").encode()).decode()


def value_of(secret: Mapping[str, Any], key: str) -> bytes | None:
    """The bytes under a key; None when the key is absent."""
    text = (secret.get("data") or {}).get(key)
    return base64.b64decode(text) if text is not None else None


def validate(secret: Object) -> list[FieldError]:
    """``ValidateSecret``: keys are file names, one MiB at most, well-known types have their keys."""
    data = secret.get("data") or {}
    errors: list[FieldError] = []
    for key in sorted(data):
        errors += [invalid_value(f"data[{key}]", key, text) for text in config_key_errors(key)]
    if sum(_decoded_length(value) for value in data.values()) > MAX_BYTES:
        errors.append(too_long("data", MAX_BYTES))
    return errors + _type_errors(secret, data)


def _decoded_length(value: str) -> int:
    return len(value) * 3 // 4 - value[-2:].count("=")


def _type_errors(secret: Object, data: Mapping[str, str]) -> list[FieldError]:
    kind = secret.get("type")
    if kind == SERVICE_ACCOUNT_TOKEN:
        annotations = (secret.get("metadata") or {}).get("annotations") or {}
        if not annotations.get(SERVICE_ACCOUNT_NAME):
            return [required(f"metadata.annotations[{SERVICE_ACCOUNT_NAME}]")]
        return []
    if kind == "kubernetes.io/dockercfg":
        return _json_errors(secret, ".dockercfg", data)
    if kind == "kubernetes.io/dockerconfigjson":
        return _json_errors(secret, ".dockerconfigjson", data)
    if kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            return [required("data[username]"), required("data[password]")]
        return []
    if kind == "kubernetes.io/ssh-auth":
        return [] if data.get("ssh-privatekey") else [required("data[ssh-privatekey]")]
    if kind == TLS:
        return [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    return []


def _json_errors(secret: Object, key: str, data: Mapping[str, str]) -> list[FieldError]:
    if key not in data:
        return [required(f"data[{key}]")]
    text = base64.b64decode(data[key])
    problem = explain(text)
    if problem is None:
        found = orjson.loads(text)
        if found is None or isinstance(found, dict):
            return []
        problem = f"json: cannot unmarshal {_json_kind(found)} into Go value of type map[string]interface {{}}"
    return [invalid_value(f"data[{key}]", "<secret contents redacted>", problem)]


def _json_kind(value: Any) -> str:
    """What Go's decoder calls a value that is no object."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "number"


def validate_update(secret: Object, old: Object) -> list[FieldError]:
    """``ValidateSecretUpdate``: the type stays, and so does the data once immutable."""
    errors = immutable("type", secret.get("type") or "", old.get("type") or "")
    if old.get("immutable"):
        if not secret.get("immutable"):
            errors.append(forbidden_field("immutable", _IMMUTABLE))
        if (secret.get("data") or {}) != (old.get("data") or {}):
            errors.append(forbidden_field("data", _IMMUTABLE))
    return errors + validate(secret)


def prepare_update(secret: Object, old: Object) -> None:
    """An update that leaves the type out keeps it."""
    if not secret.get("type"):
        secret["type"] = old.get("type") or ""


def warnings(secret: Object, _old: Object | None) -> list[str]:
    """A TLS secret whose pair does not load."""
    if secret.get("type") != TLS:
        return []
    problem = pair_problem(value_of(secret, "tls.crt") or b"", value_of(secret, "tls.key") or b"")
    return [problem] if problem else []


def row(secret: Mapping[str, Any], now: float) -> tuple[str, str, int, str]:
    return (name(secret), str(secret.get("type") or ""), len(secret.get("data") or ()), age(secret, now))


KIND = Kind(
    resource=SECRETS,
    singular="secret",
    definition=DEFINITION,
    default=defaults(DEFINITION, fill),
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    columns=(NAME, column("Type", f"{DEFINITION}.type"), column("Data", f"{DEFINITION}.data"), AGE),
    row=row,
    selectable={"type": lambda secret: str(secret.get("type") or "")},
    extra={"unsupported_field": "field label not supported: {field}"},
)
