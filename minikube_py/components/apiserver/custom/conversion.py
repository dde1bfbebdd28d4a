"""Between the versions of a custom kind, as far as the server does it itself. Pure functions.

What is read from the store gets the defaults of the version it was stored in, loses what that version's schema does
not have (it may have changed since), and becomes the wanted version: by another ``apiVersion`` (``strategy: None``)
or by the answer of a webhook (``conversion_webhook``); then it loses what the wanted version does not have. What is
written becomes the storage version in the same way, with its defaults, so that what is stored needs nothing when it
is read. Readers see what apiextensions' storage codec makes.

``Versions.changed_after`` is the revision up to which schemas have changed: entries above it were written by the
present schemas and are served as they are when they have the right version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.machinery.decoding import drop_unknown
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.schema import Schema

if TYPE_CHECKING:
    from minikube_py.machinery.custom_resources.resources import ResourceValidator


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a definition, served or not; made once for each specification, as its rules are compiled."""

    api_version: str
    schema: Schema
    default: Callable[[Object], None]
    validator: ResourceValidator


@dataclass(frozen=True, slots=True)
class Versions:
    """All versions of a definition, by ``apiVersion``; ``storage`` is among them."""

    by_name: Mapping[str, Version]
    storage: Version
    changed_after: int

    def of(self, obj: Object) -> Version:
        """The version of a stored object. ApiError(500) when the definition has none of that name."""
        found = self.by_name.get(str(obj.get("apiVersion")))
        if found is None:
            text = f"request to convert CR from an invalid group/version: {obj.get('apiVersion') or ''}"
            raise ApiError(500, "", text)
        return found

    def is_current(self, entry: Entry, version: Version) -> bool:
        """Whether an entry can be served as it is in a version."""
        return entry.shape.api_version == version.api_version and entry.revision > self.changed_after

    def decoded(self, stored: Object) -> Object:
        """A private copy of a stored object that fits the present schema of its version."""
        version, draft = self.of(stored), thaw(stored)
        drop_unknown(version.schema, draft)
        version.default(draft)
        return draft

    def is_stale(self, entry: Entry) -> bool:
        """Whether an update that changes nothing is stored all the same: its bytes would be others now."""
        if entry.shape.api_version != self.storage.api_version:
            return True
        if entry.revision > self.changed_after:
            return False
        stored = {"kind": entry.shape.kind, "apiVersion": entry.shape.api_version, **entry.peek()}
        return self.decoded(stored) != stored


def relabelled(obj: Object, version: Version) -> Object:
    """A private object as another version, by ``strategy: None``."""
    obj["apiVersion"] = version.api_version
    drop_unknown(version.schema, obj)
    return obj


def reader(versions: Versions, wanted: Version) -> Callable[[Object], Object]:
    """``Kind.from_storage`` of a version with ``strategy: None``."""
    return partial(_read, versions, wanted)


def _read(versions: Versions, wanted: Version, stored: Object) -> Object:
    own = stored.get("apiVersion") == wanted.api_version
    if own and int(stored["metadata"].get("resourceVersion") or 0) > versions.changed_after:
        return stored
    decoded = versions.decoded(stored)
    return decoded if own else relabelled(decoded, wanted)


def writer(versions: Versions) -> Callable[[Object], Object]:
    """``Kind.to_storage`` of a version that is not the storage version, with ``strategy: None``."""
    return partial(_write, versions.storage)


def _write(storage: Version, draft: Object) -> Object:
    stored = relabelled(thaw(draft), storage)
    storage.default(stored)
    return stored
