"""API errors: Kubernetes' Status as typed exceptions, with Kubernetes' texts.

Tree::

    ApiError            any failure that a client sees as a ``Status`` object
      (told apart by ``reason``: NotFound, AlreadyExists, Conflict, Invalid, ...)

The constructors below give the texts of ``k8s.io/apimachinery/pkg/api/errors``. Field errors are
those of ``k8s.io/apimachinery/pkg/util/validation/field``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from minikube_py.machinery.go_floats import go_float
from minikube_py.machinery.objects import Object


class ApiError(Exception):
    """A failed API request: HTTP ``code``, machine-readable ``reason``, ``message`` and ``details``."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
        headers: dict[str, str] | None = None,
        metadata: Object | None = None,
    ) -> None:
        """``metadata`` is the Status' own: an error may carry a continue token."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.metadata = metadata or {}

    def status(self) -> Object:
        """The ``Status`` object that is sent to the client."""
        body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure"}
        if self.message:
            body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def from_status(status: Object) -> ApiError:
    """The exception for a received ``Status`` object."""
    return ApiError(
        int(status.get("code") or 500),
        str(status.get("reason") or ""),
        str(status.get("message") or ""),
        details=status.get("details"),
        metadata=status.get("metadata"),
    )


def is_not_found(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "NotFound"


def is_conflict(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "Conflict"


def is_already_exists(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "AlreadyExists"


def is_expired(error: BaseException) -> bool:
    """410: the revision is compacted (``Expired`` or the older ``Gone``)."""
    return isinstance(error, ApiError) and error.reason in ("Expired", "Gone")


def qualified(group: str, resource: str) -> str:
    """``deployments.apps``, or ``pods`` in the core group."""
    return f"{resource}.{group}" if group else resource


def _details(group: str, resource: str, name: str) -> Object:
    details: Object = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    return details


def not_found(group: str, resource: str, name: str) -> ApiError:
    message = f'{qualified(group, resource)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(group, resource, name))


def already_exists(group: str, resource: str, name: str) -> ApiError:
    message = f'{qualified(group, resource)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(group, resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, resource: str, name: str, why: str = MODIFIED) -> ApiError:
    message = f'Operation cannot be fulfilled on {qualified(group, resource)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(group, resource, name))


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    message = f'{qualified(group, resource)} "{name}" is forbidden: {why}' if resource else f"forbidden: {why}"
    if resource and not name:
        message = f"{qualified(group, resource)} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, details=_details(group, resource, name))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> ApiError:
    return ApiError(401, "Unauthorized", message)


def expired(message: str, *, metadata: Object | None = None) -> ApiError:
    return ApiError(410, "Expired", message, metadata=metadata)


def timeout(message: str, retry_after_seconds: int = 1) -> ApiError:
    return ApiError(504, "Timeout", message, details={"retryAfterSeconds": retry_after_seconds})


def too_many_requests(message: str, retry_after_seconds: int = 1) -> ApiError:
    details: Object = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    headers = {"Retry-After": str(retry_after_seconds)} if retry_after_seconds else {}
    return ApiError(429, "TooManyRequests", message, details=details, headers=headers)


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable(message: str) -> ApiError:
    return ApiError(406, "NotAcceptable", message)


def request_too_large(message: str) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", message)


def internal(message: str) -> ApiError:
    details: Object = {"causes": [{"message": message}]}
    return ApiError(500, "InternalError", f"Internal error occurred: {message}", details=details)


def service_unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)


_PREFIX = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "InternalError": "Internal error",
    "FieldValueTypeInvalid": "Invalid value",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One problem of one field; ``type`` is the cause's reason on the wire."""

    type: str
    field: str
    value: Any = None
    detail: str = ""

    def body(self) -> str:
        """The text after ``field: ``, as ``field.Error.ErrorBody`` writes it."""
        prefix = _PREFIX[self.type]
        if self.type in (
            "FieldValueRequired",
            "FieldValueForbidden",
            "FieldValueTooLong",
            "InternalError",
        ):
            text = prefix
        else:
            text = f"{prefix}: {go_value(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def cause(self) -> Object:
        return {"reason": self.type, "message": self.body(), "field": self.field}


def go_value(value: Any) -> str:
    """A value as Go's field errors print it: strings quoted, JSON for structures, null for nil."""
    if isinstance(value, str):
        return go_quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, int):
        return str(value)
    return orjson.dumps(value).decode()


_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}


def go_quote(text: str) -> str:
    """A string as Go's ``%q`` prints it."""
    parts = []
    for char in text:
        if char in _ESCAPES:
            parts.append(_ESCAPES[char])
        elif char.isprintable():
            parts.append(char)
        elif ord(char) < 0x80:
            parts.append(f"\\x{ord(char):02x}")
        else:
            parts.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
    return '"' + "".join(parts) + '"'


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "", detail)


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, value, detail)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, value)


def forbidden_field(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, "", detail)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    listed = ", ".join(go_quote(item) for item in sorted(supported))
    return FieldError("FieldValueNotSupported", field, value, f"supported values: {listed}" if listed else "")


def too_long(field: str, limit_bytes: int) -> FieldError:
    return FieldError("FieldValueTooLong", field, "", f"may not be more than {limit_bytes} bytes")


def too_many(field: str, actual: int, limit: int) -> FieldError:
    return FieldError("FieldValueTooMany", field, actual, f"must have at most {limit} items")


def field_not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, value)


def aggregate_text(errors: Sequence[FieldError]) -> str:
    """Field errors in one line, each once (``ErrorList.ToAggregate``)."""
    lines = list(dict.fromkeys(f"{error.field}: {error.body()}" for error in errors))
    return lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with one cause for each field error (``errors.NewInvalid``)."""
    qualified_kind = qualified(group, kind)
    message = f'{qualified_kind} "{name}" is invalid' + (f": {aggregate_text(errors)}" if errors else "")
    details = _details(group, kind, name)
    if errors:
        details["causes"] = [error.cause() for error in errors]
    return ApiError(422, "Invalid", message, details=details)
