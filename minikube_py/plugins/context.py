"""What a plugin's controllers and background functions are given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from minikube_py.client.types import Client, EventRecorder, Informer, PatchType, WriteOptions
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import Object, name_of, namespace_of
from minikube_py.machinery.resources import Resource
from minikube_py.plugins.declaration import PluginError, split_kind


class Key(NamedTuple):
    """Which object; ``namespace`` is empty for cluster-scoped kinds."""

    namespace: str
    name: str


class Kinds(Protocol):
    """Which kinds are served now, custom ones included."""

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind, None while it is not served."""

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` whenever that changes; returns the function that ends it."""


class Context:
    """The client and what belongs to it. Objects that come out of it are shared and read-only: copy what you change."""

    def __init__(self, name: str, client: Client, kinds: Kinds, recorder: EventRecorder, clock: Clock) -> None:
        self.name = name
        self.client = client
        self.clock = clock
        self.log = logging.getLogger(f"pyk3s.plugins.{name}")
        self._kinds = kinds
        self._recorder = recorder
        self._options = WriteOptions(field_manager=f"plugin-{name}", force=True)

    def resource(self, kind: str) -> Resource:
        """The resource of "apps/v1/Deployment". Raises PluginError when it is not served."""
        found = self._kinds.resource(*split_kind(kind))
        if found is None:
            raise PluginError(f"kind {kind} is not served by this cluster")
        return found

    async def served(self, kind: str) -> Resource:
        """The resource of a kind, as soon as it is served."""
        changed = asyncio.Event()
        end = self._kinds.on_change(changed.set)
        try:
            while True:
                found = self._kinds.resource(*split_kind(kind))
                if found is not None:
                    return found
                await changed.wait()
                changed.clear()
        finally:
            end()

    def informer(self, kind: str) -> Informer:
        """The view of all objects of a kind, without a copy of them."""
        return self.client.informer(self.resource(kind))

    async def get(self, kind: str, key: Key) -> Object | None:
        """The newest state of an object, None when there is none."""
        try:
            return await self.client.get(self.resource(kind), key.name, key.namespace or None)
        except ApiError as error:
            if is_not_found(error):
                return None
            raise

    async def apply(self, obj: Object, *, owner: Object | None = None, subresource: str | None = None) -> Object:
        """Server-side apply as field manager ``plugin-<name>``, forced; ``owner`` becomes the controller reference."""
        resource = self.resource(f"{obj['apiVersion']}/{obj['kind']}")
        if owner is not None:
            reference = {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": name_of(owner),
                "uid": owner["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
            obj = {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}
        return await self.client.patch(
            resource,
            name_of(obj),
            obj,
            namespace_of(obj) or None,
            patch_type=PatchType.APPLY,
            subresource=subresource,
            options=self._options,
        )

    def event(self, regarding: Object, reason: str, message: str, *, type: str = "Normal") -> None:
        """Record an Event about an object."""
        self._recorder.event(regarding, type, reason, message)
