"""Continue tokens: where the next page of a list begins, and at which revision.

A token is Kubernetes': unpadded base64 of ``{"v":"meta.k8s.io/v1","rv":N,"start":"key after the last"}``. Tokens come
back from clients, so everything about them is checked; the errors have the texts of ``apiserver/pkg/storage``.
"""

from __future__ import annotations

import base64
import posixpath
from dataclasses import dataclass
from typing import Any

import orjson

from minikube_py.machinery.decoding import json_kind
from minikube_py.machinery.errors import ApiError, bad_request, expired
from minikube_py.machinery.json_errors import explain

_VERSION = "meta.k8s.io/v1"
_FIELDS: dict[str, tuple[type, str]] = {"v": (str, "string"), "rv": (int, "int64"), "start": (str, "string")}
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_NEWEST = -1
"""The revision of a token whose own revision is compacted: whoever goes on gets what is there then."""
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: at ``start``, a key below the collection's (empty: at its first); 0: the newest revision."""

    revision: int
    start: str


def encode_token(revision: int, last: str) -> str:
    """The token of a page that ends with the object of key ``last``."""
    return _encoded(revision, last + "\x00")


def _encoded(revision: int, start: str) -> str:
    token = {"v": _VERSION, "rv": revision, "start": start}
    return base64.urlsafe_b64encode(orjson.dumps(token)).rstrip(b"=").decode()


def compacted(place: Place) -> ApiError:
    """410 for a token whose revision is gone, with one that goes on in the newest state."""
    return expired(_TOO_OLD, metadata={"continue": _encoded(_NEWEST, place.start)})


def decode_token(text: str) -> Place:
    """ApiError 400 for what is no token."""
    token = _fields(_decoded(text))
    version, revision, start = token.get("v") or "", token.get("rv") or 0, token.get("start") or ""
    if version != _VERSION:
        raise _invalid(f": server does not recognize this encoded version {version}")
    if revision == 0:
        raise _invalid(f": incorrect encoded start resourceVersion (version {version})")
    if not start:
        raise _invalid(f": encoded start key empty (version {version})")
    key = start if start.startswith("/") else f"/{start}"
    # A key outside the collection would be a way out of the namespace.
    if key.startswith("//") or posixpath.normpath(key) != key:
        raise _invalid(f": {start}")
    return Place(max(0, revision), key[1:])


def _invalid(why: str) -> ApiError:
    return bad_request(f"invalid continue token: continue key is not valid{why}")


def _decoded(text: str) -> bytes:
    """Unpadded URL-safe base64 as Go reads it: line ends are skipped, everything else must fit."""
    data = text.encode()
    kept = bytes(byte for byte in data if byte not in b"\r\n")
    for position, byte in enumerate(data):
        if byte not in _ALPHABET and byte not in b"\r\n":
            raise _invalid(f": illegal base64 data at input byte {position}")
    if len(kept) % 4 == 1:
        raise _invalid(f": illegal base64 data at input byte {len(data) - 1}")
    return base64.urlsafe_b64decode(kept + b"=" * (-len(kept) % 4))


def _fields(raw: bytes) -> dict[str, Any]:
    try:
        token = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _invalid(f": {explain(raw) or error}") from error
    if not isinstance(token, dict):
        raise _invalid(f": json: cannot unmarshal {json_kind(token)} into Go value of type storage.continueToken")
    for name, (wanted, called) in _FIELDS.items():
        value = token.get(name)
        fits = value is None or (type(value) is wanted and (not isinstance(value, int) or -(2**63) <= value < 2**63))
        if not fits:
            shown = (
                f"number {orjson.dumps(value).decode()}" if wanted is int and _is_number(value) else json_kind(value)
            )
            raise _invalid(
                f": json: cannot unmarshal {shown} into Go struct field continueToken.{name} of type {called}"
            )
    return token


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
