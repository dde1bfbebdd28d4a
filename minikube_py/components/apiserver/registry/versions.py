"""Reading stored objects in the version of a kind, also where a webhook has to make that version.

``Kind.from_storage`` converts at once and purely. A custom kind whose versions are made by a conversion webhook
has a ``Converter`` in ``extra["converter"]`` instead: it turns entries into entries of its version, which are served
like stored ones. Without a converter the functions here do not wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from minikube_py.components.apiserver.storage.cache import WatchCache
from minikube_py.components.apiserver.storage.caches import Caches
from minikube_py.components.apiserver.storage.converted import ConvertedWatch
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.components.apiserver.storage.selection import Selection
from minikube_py.components.apiserver.storage.watches import WatchStream
from minikube_py.machinery.field_sets import FieldSet
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.managed_fields import Elsewhere, changes_in
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import Schema


class Converter(Protocol):
    """Converts between one version of a custom kind and those in which its objects are or will be stored."""

    async def entries(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries in this version, in the same order. ApiError(500) when that fails."""

    async def stored(self, draft: Object) -> Object:
        """An object of this version in the storage version. ApiError(500) when that fails."""

    def schema(self, api_version: str) -> Schema | None:
        """The schema of a version; None when the definition has none of that name."""

    async def objects(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """Objects of any version in another one; private copies. ApiError(500) when that fails."""


def converter_of(kind: Kind) -> Converter | None:
    """The converter of a kind whose versions a webhook makes."""
    return cast("Converter | None", kind.extra.get("converter"))


async def entries_in(kind: Kind, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Entries as a kind with a converter serves them; for any other kind as they are. ApiError(500)."""
    converter = converter_of(kind)
    return entries if converter is None else await converter.entries(entries)


async def read_entry(kind: Kind, entry: Entry) -> Object:
    """A stored object in the version of ``kind``; shared and read-only. ApiError(500)."""
    found = (await entries_in(kind, (entry,)))[0].object
    return kind.from_storage(found) if kind.from_storage else found


async def changes_elsewhere(
    kind: Kind, old: Object | None, draft: Object, reset: Iterable[str] = ()
) -> Elsewhere | None:
    """What a change is in the versions in which others own fields of the object; None where names do not differ.

    Follows ``structured-merge-diff``'s updater, which compares for each manager in its own version. ApiError(500).
    """
    converter, own = converter_of(kind), kind.resource.api_version
    if converter is None or old is None:
        return None
    managers = [*(old["metadata"].get("managedFields") or ()), *(draft["metadata"].get("managedFields") or ())]
    found: dict[str, tuple[FieldSet, FieldSet] | None] = {}
    for version in dict.fromkeys(str(entry.get("apiVersion") or "") for entry in managers):
        if version in (own, ""):
            continue
        schema = converter.schema(version)
        if schema is None:
            found[version] = None
            continue
        before, after = await converter.objects([old, draft], version)
        found[version] = changes_in(schema, before, after, reset)
    return found


def open_watch(caches: Caches, kind: Kind, cache: WatchCache, selection: Selection, start: int) -> Watch:
    """A watch of a kind after a revision. Raises Expired when that is compacted."""
    converter = converter_of(kind)
    if converter is None:
        return WatchStream(caches, cache, selection, start)
    return ConvertedWatch(caches, cache, selection, start, converter.entries)


Watch = WatchStream | ConvertedWatch
