"""The client protocol that every component is written against, and the informer on top of it.

Two implementations: ``components.apiserver.local_client`` (in the server's process; admission and
validation, but no sockets and no JSON text) and ``client.http``. Both raise
``machinery.errors.ApiError`` and nothing else for a failed request.

Objects that a client returns are read-only and may be shared; objects handed to it are not kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource


class EventType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change seen by a watch; a deletion carries the object's last state."""

    type: EventType
    object: Object


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A page of a collection; ``continue_token`` is empty on the last page."""

    items: Sequence[Object]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class PatchType(StrEnum):
    """Media types of patches."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Options of create, update and patch."""

    field_manager: str = ""
    dry_run: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Options of delete; None leaves the choice to the kind."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    precondition_uid: str | None = None
    precondition_resource_version: str | None = None
    dry_run: bool = False


NO_WRITE_OPTIONS = WriteOptions()
NO_DELETE_OPTIONS = DeleteOptions()


class Client(Protocol):
    """Reads and writes API objects. ``namespace`` is None for cluster-scoped resources (and "all" in lists)."""

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        """The newest state of one object. Raises NotFound."""

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """A consistent page of a collection. ``resource_version="0"`` allows any cached state."""

    async def create(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        """Create an object, or POST to the subresource of ``name`` (binding, eviction, token)."""

    async def update(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        """Replace an object (or its status); a resourceVersion in it is a guard: raises Conflict."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object | Sequence[Object],
        namespace: str | None = None,
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str | None = None,
        options: WriteOptions = NO_WRITE_OPTIONS,
    ) -> Object:
        """Patch an object (or a subresource)."""

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> Object:
        """Delete an object; returns its last state or a Status."""

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        options: DeleteOptions = NO_DELETE_OPTIONS,
    ) -> None:
        """Delete every object that the selectors match."""

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Events after ``resource_version`` in order, once each; raises Expired when it is compacted.

        The iterator ends when the server ends the watch; resume from the last seen version.
        """

    def informer(
        self, resource: Resource, namespace: str | None = None, *, field_selector: str = "", label_selector: str = ""
    ) -> Informer:
        """The shared informer for these arguments, started on first use and stopped with the client."""


Handler = Callable[[EventType, Object, Object | None], None]
"""Called as (type, object, previous); previous is None for ADDED. Must not block or await."""


class Informer(Protocol):
    """A view of a collection that follows the server, and hands changes to its subscribers.

    Promises: ``get`` and ``list`` reflect every event that handlers have been called with; events of
    one object arrive in order; intermediate states may be skipped after a relist, deletions never;
    a new subscriber first gets ADDED for everything that is there. In the server's process it is a
    window on the watch cache and holds no copy.
    """

    def get(self, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None."""

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        """All objects (of a namespace), in no promised order."""

    def by_index(self, index: str, value: str) -> Sequence[Object]:
        """Objects for which the index function gave ``value``. Raises KeyError for an unknown index."""

    def add_index(self, index: str, values: Callable[[Object], Sequence[str]]) -> None:
        """Maintain an index; adding the same name twice is allowed with the same function."""

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Call ``handler`` for every change from now on; returns the function that ends it."""

    async def synced(self) -> None:
        """Return once the first list has been taken in."""


class EventRecorder(Protocol):
    """Writes Event objects without ever failing or delaying the caller."""

    def event(self, regarding: Object, type: str, reason: str, message: str) -> None:
        """Record an event (type Normal or Warning), aggregated with equal recent ones."""
