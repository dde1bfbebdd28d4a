"""One object at one revision: the bytes that are stored, those that are served, and the parsed form.

Stored bytes are the object's JSON with ``kind`` and ``apiVersion`` first, then ``metadata``, and
without ``resourceVersion``, which is the revision of the record. Served bytes have it spliced in as
the first field of ``metadata``. The item form (as typed lists carry it) lacks ``kind`` and
``apiVersion``; it is what an entry keeps, because lists are the large answers.

Entries are immutable and shared. ``object`` is parsed when it is first asked for and read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

_METADATA = b'"metadata":{'
_ITEM_HEAD = b'{"metadata":{"resourceVersion":"'
_NO_LABELS: Mapping[str, str] = {}


class Shape:
    """What all objects of one stored resource have in common on the wire."""

    __slots__ = ("api_version", "head", "kind", "namespaced", "prefix", "stored_head")

    def __init__(self, resource: Resource, prefix: str) -> None:
        self.kind = resource.kind
        self.api_version = resource.api_version
        self.namespaced = resource.namespaced
        self.prefix = prefix
        self.head = head_bytes(resource.kind, resource.api_version)
        self.stored_head = self.head + _METADATA


def head_bytes(kind: str, api_version: str) -> bytes:
    """The opening of a JSON object of this kind, up to its ``metadata``."""
    return b'{"kind":' + orjson.dumps(kind) + b',"apiVersion":' + orjson.dumps(api_version) + b","


class Entry:
    """See the module. ``name`` and ``namespace`` come from the key."""

    __slots__ = ("_labels", "_object", "item", "name", "namespace", "revision", "shape")

    def __init__(self, shape: Shape, key: str, value: bytes, revision: int) -> None:
        """Raises ValueError when ``value`` is not in the stored form."""
        head = shape.stored_head
        if not value.startswith(head):
            value = _restored(shape, value)
        self.shape = shape
        self.revision = revision
        self.item = _ITEM_HEAD + str(revision).encode() + b'",' + value[len(head) :]
        self.namespace, _, self.name = key[len(shape.prefix) :].rpartition("/")
        self._object: Object | None = None
        self._labels: Mapping[str, str] | None = None

    @property
    def object(self) -> Object:
        """The object with kind, apiVersion and resourceVersion; shared and read-only."""
        found = self._object
        if found is None:
            shape = self.shape
            found = self._object = {"kind": shape.kind, "apiVersion": shape.api_version, **orjson.loads(self.item)}
        return found

    def peek(self) -> Object:
        """``object`` for a short look: what is parsed for this alone is not kept, so a long list leaves no trace."""
        found: Object = self._object or orjson.loads(self.item)
        return found

    @property
    def full(self) -> bytes:
        """The JSON of the object by itself."""
        return self.shape.head + self.item[1:]

    @property
    def served(self) -> bytes:
        """``full`` as an answer's body: with the newline that Go's encoder writes."""
        return b"%b%b\n" % (self.shape.head, self.item[1:])

    @property
    def labels(self) -> Mapping[str, str]:
        """Kept apart from the object, which is ten times as large."""
        found = self._labels
        if found is None:
            found = self._labels = self.peek()["metadata"].get("labels") or _NO_LABELS
        return found

    def stored(self) -> bytes:
        """The bytes as the datastore has them."""
        start = len(_ITEM_HEAD) + len(str(self.revision)) + 2
        return self.shape.stored_head + self.item[start:]

    def at(self, revision: int) -> Entry:
        """The same state under another resourceVersion (a deletion's)."""
        other = Entry.__new__(Entry)
        start = len(_ITEM_HEAD) + len(str(self.revision)) + 2
        other.shape, other.revision, other.name, other.namespace = self.shape, revision, self.name, self.namespace
        other.item = _ITEM_HEAD + str(revision).encode() + b'",' + self.item[start:]
        other._object = None
        other._labels = self._labels
        return other


def _restored(shape: Shape, value: bytes) -> bytes:
    """The stored form of JSON that something else wrote (an import through etcd's face)."""
    found = orjson.loads(value)
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise ValueError(f"not an object of kind {shape.kind}")
    return encode_stored(found, shape)


def encode_stored(obj: dict[str, Any], shape: Shape) -> bytes:
    """The stored form of an object: head first, no resourceVersion. Does not change ``obj``."""
    meta = obj["metadata"]
    if "resourceVersion" in meta:
        meta = {key: value for key, value in meta.items() if key != "resourceVersion"}
    ordered: dict[str, Any] = {"kind": shape.kind, "apiVersion": shape.api_version, "metadata": meta}
    for key, value in obj.items():
        if key not in ordered:
            ordered[key] = value
    return orjson.dumps(ordered)
