"""The shape of API objects and the few accessors every room uses.

An API object is plain JSON data. Objects that come out of a cache, an informer or a watch are
shared by every reader in the process and are never mutated: ``thaw`` makes the private copy that
may be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")
Object = dict[str, Any]


class RawObject(dict[str, Any]):
    """A JSON object that also knows the text it was read from, where that text shows (``machinery.raw_texts``)."""

    __slots__ = ("text",)

    def __init__(self, value: Mapping[str, Any], text: bytes) -> None:
        super().__init__(value)
        self.text = text


def thaw(value: T) -> T:
    """Return a deep, private copy of JSON data. About six times faster than ``copy.deepcopy``."""
    copied: T = _copy(value)
    return copied


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        if type(value) is RawObject:
            return RawObject({key: _copy(item) for key, item in value.items()}, value.text)
        return {key: _copy(item) if isinstance(item, dict | list) else item for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) if isinstance(item, dict | list) else item for item in value]
    return value


def metadata(obj: Mapping[str, Any]) -> Object:
    """The object's metadata (an empty mapping when it has none)."""
    found: Object = obj.get("metadata") or {}
    return found


def name_of(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("name", ""))


def namespace_of(obj: Mapping[str, Any]) -> str:
    """The object's namespace; the empty string for cluster-scoped objects."""
    return str(metadata(obj).get("namespace", ""))


def uid_of(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("uid", ""))


def resource_version_of(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("resourceVersion", ""))


def key_of(obj: Mapping[str, Any]) -> str:
    """``namespace/name``, or ``name`` alone for cluster-scoped objects (client-go's MetaNamespaceKey)."""
    namespace, name = namespace_of(obj), name_of(obj)
    return f"{namespace}/{name}" if namespace else name


def split_key(key: str) -> tuple[str, str]:
    """The inverse of ``key_of``: (namespace, name)."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def labels_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = metadata(obj).get("labels") or {}
    return found


def annotations_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = metadata(obj).get("annotations") or {}
    return found


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Whether the object waits for finalizers or a grace period (it has a deletionTimestamp)."""
    return bool(metadata(obj).get("deletionTimestamp"))
