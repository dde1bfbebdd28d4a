"""Formats of strings and numbers that Kubernetes knows in the schemas of custom resources."""

from __future__ import annotations

from collections.abc import Iterator

from minikube_py.machinery.kinds.apiextensions.schema_walk import Json, subschemas

_TEXT = frozenset(
    {
        "bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5",
        "isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor", "rgbcolor", "byte", "password", "date",
        "duration", "datetime", "quantity", "k8sshortname", "k8slongname",
    }
)  # fmt: skip
_NUMBERS = {"integer": frozenset({"int32", "int64"}), "number": frozenset({"float", "double"})}


def unrecognized_formats(schema: Json) -> Iterator[str]:
    """Formats that have no effect where they stand; every use, in the order of the schema."""
    for part in subschemas(schema):
        written = part.get("format") or ""
        if written and not _is_known(part.get("type") or "", written):
            yield written


def _is_known(sort: str, written: str) -> bool:
    if sort in ("", "string"):
        return written.replace("-", "") in _TEXT
    return written in _NUMBERS.get(sort, ())
