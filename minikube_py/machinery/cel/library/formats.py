"""Kubernetes' ``format`` library: named formats that texts are checked against."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from minikube_py.machinery.cel.errors import EvaluationError
from minikube_py.machinery.cel.library.times import timestamp_of
from minikube_py.machinery.cel.overloads import Table, call, member
from minikube_py.machinery.cel.types import STRING, Type, list_of, opaque, optional_of
from minikube_py.machinery.cel.values import NONE, Optional, some
from minikube_py.machinery.names import (
    dns1035_label_errors,
    dns1123_label_errors,
    dns1123_subdomain_errors,
    label_value_errors,
    mask_trailing_dash,
    qualified_name_errors,
)

FORMAT = opaque("kubernetes.NamedFormat")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Format:
    """A format by its name."""

    name: str
    type: Type = field(default=FORMAT, compare=False, repr=False)


def declare(table: Table) -> None:
    """Add the library."""
    for name in _FORMATS:
        made = Format(name)
        call(table, f"format.{name}", f"format-{name}", (), FORMAT, lambda made=made: made)
    call(table, "format.named", "format-named", (STRING,), optional_of(FORMAT), _named)
    member(table, "validate", "format-validate", (FORMAT, STRING), optional_of(list_of(STRING)), _validate)


def _named(name: str) -> Optional:
    return some(Format(name)) if name in _FORMATS else NONE


def _validate(format: Format, text: str) -> Optional:
    errors = _FORMATS[format.name](text)
    return some(errors) if errors else NONE


def _prefix(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda text: check(mask_trailing_dash(text))


def _uri(text: str) -> list[str]:
    try:
        parts = urlsplit(text)
        if text and (parts.scheme or text.startswith("/")):
            return []
    except ValueError:
        pass
    return [f'parse "{text}": invalid URI for request' if text else 'parse "": empty url']


def _uuid(text: str) -> list[str]:
    return [] if _UUID.fullmatch(text) else ["does not match the UUID format"]


def _byte(text: str) -> list[str]:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ["invalid base64"]
    return []


def _date(text: str) -> list[str]:
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return []
    except ValueError:
        pass
    return ["invalid date"]


def _datetime(text: str) -> list[str]:
    try:
        timestamp_of(text)
    except EvaluationError:
        return ["invalid datetime"]
    return []


_FORMATS: dict[str, Callable[[str], list[str]]] = {
    "dns1123Label": dns1123_label_errors,
    "dns1123Subdomain": dns1123_subdomain_errors,
    "dns1035Label": dns1035_label_errors,
    "qualifiedName": qualified_name_errors,
    "dns1123LabelPrefix": _prefix(dns1123_label_errors),
    "dns1123SubdomainPrefix": _prefix(dns1123_subdomain_errors),
    "dns1035LabelPrefix": _prefix(dns1035_label_errors),
    "labelValue": label_value_errors,
    "uri": _uri,
    "uuid": _uuid,
    "byte": _byte,
    "date": _date,
    "datetime": _datetime,
}
