"""One object at one revision: the bytes that are stored, those that are served, and the parsed form.

Stored bytes are the object's JSON with ``kind`` and ``apiVersion`` first, then ``metadata``, and
without ``resourceVersion``, which is the revision of the record. Served bytes have it spliced in as
the first field of ``metadata``. The item form (as typed lists carry it) lacks ``kind`` and
``apiVersion``; it is what an entry keeps, because lists are the large answers.

Entries are immutable and shared. ``object`` is parsed when it is first asked for and read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any

import orjson

from minikube_py.machinery.objects import Object
from minikube_py.machinery.raw_texts import RAW_FIELDS, text_of, with_texts
from minikube_py.machinery.resources import Resource

_METADATA = b'"metadata":{'
_ITEM_HEAD = b'{"metadata":{"resourceVersion":"'
_NO_LABELS: Mapping[str, str] = {}
_MOST_LABELS = 1024


class Shape:
    """What all objects of one stored resource have in common on the wire."""

    __slots__ = (
        "_labels",
        "_versions",
        "api_version",
        "has_raw_fields",
        "head",
        "kind",
        "namespaced",
        "prefix",
        "stored_head",
    )

    def __init__(self, resource: Resource, prefix: str, versions: dict[str, Shape] | None = None) -> None:
        """``versions``: the shapes of other versions in which objects may be stored (custom kinds); shared by them."""
        self._versions = versions
        self._labels: dict[bytes, Mapping[str, str]] = {}
        self.kind = resource.kind
        self.api_version = resource.api_version
        self.namespaced = resource.namespaced
        self.prefix = prefix
        self.head = head_bytes(resource.kind, resource.api_version)
        self.stored_head = self.head + _METADATA
        self.has_raw_fields = (resource.api_version, resource.kind) in RAW_FIELDS
        if versions is not None:
            versions[self.api_version] = self

    def in_version(self, api_version: str) -> Shape:
        """The shape in another version of the same group; itself where a kind is stored in one version only."""
        if self._versions is None or api_version == self.api_version:
            return self
        group, _, version = api_version.rpartition("/")
        if not version or group != self.api_version.rpartition("/")[0]:
            return self
        found = self._versions.get(api_version)
        if found is None:
            other = Resource(group, version, "", self.kind, self.namespaced)
            found = Shape(other, self.prefix, self._versions)
        return found

    def labels_like(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Equal labels, of which one copy serves many objects: a ReplicaSet's pods have the same."""
        key = orjson.dumps(labels)
        found = self._labels.get(key)
        if found is None:
            if len(self._labels) >= _MOST_LABELS:
                self._labels.clear()
            found = self._labels[key] = labels
        return found

    def stored_in(self, value: bytes) -> Shape | None:
        """The shape whose stored form a value has; None when it is none that is known."""
        if value.startswith(self.stored_head):
            return self
        known = self._versions.values() if self._versions is not None else ()
        return next((shape for shape in known if value.startswith(shape.stored_head)), None)


def head_bytes(kind: str, api_version: str) -> bytes:
    """The opening of a JSON object of this kind, up to its ``metadata``."""
    return b'{"kind":' + orjson.dumps(kind) + b',"apiVersion":' + orjson.dumps(api_version) + b","


class Entry:
    """See the module. ``name`` and ``namespace`` come from the key."""

    __slots__ = ("_labels", "_object", "converted", "item", "name", "namespace", "revision", "shape")

    def __init__(self, shape: Shape, key: str, value: bytes, revision: int) -> None:
        """Raises ValueError when ``value`` is not in the stored form."""
        if not value.startswith(shape.stored_head):
            shape, value = _restored(shape, value)
        head = shape.stored_head
        self.shape = shape
        self.revision = revision
        self.item = _ITEM_HEAD + str(revision).encode() + b'",' + value[len(head) :]
        namespace, _, self.name = key[len(shape.prefix) :].rpartition("/")
        self.namespace = intern(namespace)  # one text for all objects in it
        self._object: Object | None = None
        self._labels: Mapping[str, str] | None = None
        self.converted: dict[str, tuple[object, Entry]] | None = None
        """What webhooks made of it, by version, with what that is true for (``custom.conversion_webhook``)."""

    @property
    def object(self) -> Object:
        """The object with kind, apiVersion and resourceVersion; shared and read-only."""
        found = self._object
        if found is None:
            shape = self.shape
            found = self._object = {"kind": shape.kind, "apiVersion": shape.api_version, **orjson.loads(self.item)}
            if shape.has_raw_fields:
                with_texts(found, self.item)
        return found

    def take(self, said: Object) -> None:
        """What the stored value says, for who has it parsed: ``object`` then need not do it."""
        meta = {"resourceVersion": str(self.revision), **said["metadata"]}
        meta["resourceVersion"] = str(self.revision)
        head = {"kind": self.shape.kind, "apiVersion": self.shape.api_version, "metadata": meta}
        self._object = {**head, **{key: value for key, value in said.items() if key not in head}}

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
            labels = self.peek()["metadata"].get("labels")
            found = self._labels = self.shape.labels_like(labels) if labels else _NO_LABELS
        return found

    def stored(self) -> bytes:
        """The bytes as the datastore has them."""
        start = len(_ITEM_HEAD) + len(str(self.revision)) + 2
        return self.shape.stored_head + self.item[start:]

    def at(self, revision: int) -> Entry:
        """The same state under another resourceVersion (a deletion's). Nothing is parsed twice."""
        other = Entry.__new__(Entry)
        start = len(_ITEM_HEAD) + len(str(self.revision)) + 2
        other.shape, other.revision, other.name, other.namespace = self.shape, revision, self.name, self.namespace
        other.item = _ITEM_HEAD + str(revision).encode() + b'",' + self.item[start:]
        known = self._object
        if known is not None:
            known = {**known, "metadata": {**known["metadata"], "resourceVersion": str(revision)}}
        other._object = known
        other._labels = self._labels
        other.converted = None
        return other

    def unparsed(self) -> Entry:
        """The same state, for those who keep it for its bytes: the parsed object is ten times as large."""
        other = Entry.__new__(Entry)
        other.shape, other.revision, other.name, other.namespace = self.shape, self.revision, self.name, self.namespace
        other.item = self.item
        other._object = None
        other._labels = None
        other.converted = None
        return other

    def made(self, obj: Object, shape: Shape) -> Entry:
        """The same object at the same revision with another content, in another version."""
        other = Entry.__new__(Entry)
        other.shape, other.revision, other.name, other.namespace = shape, self.revision, self.name, self.namespace
        value = encode_stored(obj, shape)
        other.item = _ITEM_HEAD + str(self.revision).encode() + b'",' + value[len(shape.stored_head) :]
        other._object = None
        other._labels = None
        other.converted = None
        return other


def _restored(shape: Shape, value: bytes) -> tuple[Shape, bytes]:
    """The shape and stored form of an object of another version, or of JSON that something else wrote."""
    known = shape.stored_in(value)
    if known is not None:
        return known, value
    found = orjson.loads(value)
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise ValueError(f"not an object of kind {shape.kind}")
    shape = shape.in_version(str(found.get("apiVersion") or ""))
    return shape, encode_stored(found, shape)


def encode_stored(obj: dict[str, Any], shape: Shape) -> bytes:
    """The stored form of an object: head first, no resourceVersion. Does not change ``obj``."""
    meta = obj["metadata"]
    if "resourceVersion" in meta:
        meta = {key: value for key, value in meta.items() if key != "resourceVersion"}
    ordered: dict[str, Any] = {"kind": shape.kind, "apiVersion": shape.api_version, "metadata": meta}
    for key, value in obj.items():
        if key not in ordered:
            ordered[key] = value
    if shape.has_raw_fields:  # their texts are kept in the bytes alone
        for name in RAW_FIELDS[shape.api_version, shape.kind]:
            if isinstance(ordered.get(name), dict):
                ordered[name] = orjson.Fragment(text_of(ordered[name]))
    return orjson.dumps(ordered)
